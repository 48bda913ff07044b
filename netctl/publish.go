package netctl

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// parsePublish reads one -p in docker's short form (spec cli 1.4):
//
//	[[HOST-IP:][HOST-PORT]:]CONTAINER-PORT[/PROTOCOL]
//
// Ports may be ranges of equal length; a host port that is missing or 0 stands
// for any free one, a range before a single port for the first free one of it.
// The words of the errors are those docker users know. What has an equals sign is
// docker's long form.
func parsePublish(text string) ([]runner.PortSpec, error) {
	if strings.Contains(text, "=") {
		short, err := shortPublish(text)
		if err != nil {
			return nil, err
		}
		text = short
	}
	rest, protocol, err := cutProtocol(text)
	if err != nil {
		return nil, err
	}
	rest, inside, _ := cutLast(rest, ":")
	ip, outside, err := cutHostIP(rest)
	if err != nil {
		return nil, err
	}
	container, err := parsePortRange(inside)
	if err != nil || container.first == 0 {
		return nil, fmt.Errorf("invalid containerPort: %s", inside)
	}
	var host portRange
	if outside != "" {
		if host, err = parsePortRange(outside); err != nil {
			return nil, fmt.Errorf("invalid hostPort: %s", outside)
		}
		if container.len() == 1 && host.len() > 1 && host.first != 0 {
			return []runner.PortSpec{{
				Protocol: protocol, HostIP: ip, ContainerPort: container.first, HostPort: host.first, HostPortEnd: host.last,
			}}, nil
		}
		if host.first != 0 && host.len() != container.len() {
			return nil, fmt.Errorf("invalid ranges specified for container and host ports: %s and %s (they differ in length)", inside, outside)
		}
	}
	var specs []runner.PortSpec
	for i := range container.len() {
		p := runner.PortSpec{Protocol: protocol, HostIP: ip, ContainerPort: container.first + uint16(i)}
		if host.first != 0 {
			p.HostPort = host.first + uint16(i)
		}
		specs = append(specs, p)
	}
	return specs, nil
}

// shortPublish turns docker's long form, target=80,published=8080,protocol=tcp,
// host_ip=127.0.0.1, into the short one.
func shortPublish(text string) (string, error) {
	values := map[string]string{"protocol": "tcp"}
	for field := range strings.SplitSeq(text, ",") {
		key, value, given := strings.Cut(field, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		switch key {
		case "target", "published", "protocol", "host_ip":
			if !given || value == "" {
				return "", fmt.Errorf("invalid field %q: want KEY=VALUE", field)
			}
			values[key] = value
		case "mode":
			if value != "host" && value != "ingress" { // Swarm's; all of ours are the host's
				return "", fmt.Errorf("invalid publish mode: %s", value)
			}
		default:
			return "", fmt.Errorf("invalid field key %q: want target, published, protocol or host_ip", key)
		}
	}
	if values["target"] == "" {
		return "", fmt.Errorf("target is missing: want the container's port")
	}
	ip := values["host_ip"]
	if strings.Contains(ip, ":") && !strings.HasPrefix(ip, "[") {
		ip = "[" + ip + "]"
	}
	if ip != "" {
		ip += ":"
	}
	return fmt.Sprintf("%s%s:%s/%s", ip, values["published"], values["target"], values["protocol"]), nil
}

// parseExpose reads PORT[-PORT][/PROTOCOL].
func parseExpose(text string) ([]runner.PortSpec, error) {
	r, err := parseExposed(text)
	if err != nil {
		return nil, err
	}
	return portsOf([]exposedRange{r}), nil
}

type exposedRange struct {
	protocol string
	portRange
}

func parseExposed(text string) (r exposedRange, err error) {
	if strings.ContainsAny(text, ":=") {
		return r, fmt.Errorf("invalid port %q: want PORT[-PORT][/PROTOCOL]", text)
	}
	rest, protocol, err := cutProtocol(text)
	if err != nil {
		return r, err
	}
	r.protocol = protocol
	if r.portRange, err = parsePortRange(rest); err != nil || r.first == 0 {
		return r, fmt.Errorf("invalid containerPort: %s", rest)
	}
	return r, nil
}

// portsOf are the ports of ranges, each once: an image may list any number of
// ranges that overlap, hundreds of thousands of 65,535 ports.
func portsOf(ranges []exposedRange) []runner.PortSpec {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b exposedRange) int {
		return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.first, b.first))
	})
	var ports []runner.PortSpec
	protocol, next := "", 0 // what is below next is listed
	for _, r := range sorted {
		if r.protocol != protocol {
			protocol, next = r.protocol, 0
		}
		for next = max(next, int(r.first)); next <= int(r.last); next++ {
			ports = append(ports, runner.PortSpec{Protocol: protocol, ContainerPort: uint16(next)})
		}
	}
	return ports
}

// cutProtocol takes /PROTOCOL off the end.
func cutProtocol(text string) (rest, protocol string, err error) {
	rest, protocol, given := strings.Cut(text, "/")
	if !given {
		return rest, "tcp", nil
	}
	switch p := strings.ToLower(protocol); p {
	case "tcp", "udp", "sctp":
		return rest, p, nil
	}
	return "", "", fmt.Errorf("invalid proto: %s", protocol)
}

// cutHostIP splits what is left of the container's port. An IPv6 address needs
// its brackets: without them 1::80 could mean two things.
func cutHostIP(text string) (ip netip.Addr, port string, err error) {
	address, port, given := cutLast(text, ":")
	if !given {
		return netip.Addr{}, text, nil
	}
	if address == "" {
		return ip, port, nil
	}
	inner, bracketed := strings.CutPrefix(address, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return ip, "", fmt.Errorf("invalid IP address: %s", address)
		}
	}
	ip, err = netip.ParseAddr(inner)
	if err != nil || ip.Is4() == bracketed {
		return ip, "", fmt.Errorf("invalid IP address: %s", address)
	}
	return ip, port, nil
}

// cutLast is strings.Cut at the last separator; without one all is after.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

type portRange struct{ first, last uint16 }

func (r portRange) len() int { return int(r.last) - int(r.first) + 1 }

func parsePortRange(text string) (portRange, error) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return portRange{}, err
	}
	last, err := strconv.ParseUint(to, 10, 16)
	if err != nil {
		return portRange{}, err
	}
	if last < first {
		return portRange{}, fmt.Errorf("descending range %s", text)
	}
	return portRange{uint16(first), uint16(last)}, nil
}
