package netctl

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
)

func (c containers) port() *cobra.Command {
	return &cobra.Command{
		Use:               "port CONTAINER [PORT[/PROTOCOL]]",
		Short:             "Show published ports",
		Args:              args(1, 2),
		ValidArgsFunction: one(c.completion(isActive)),
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := c.all().Find(cmd.Context(), args[0])
			if err != nil {
				return c.explain(err, args[0])
			}
			ports := sortedPorts(reached(rec))
			if len(args) == 1 {
				for _, p := range ports {
					fmt.Fprintf(c.app.Stdout, "%d/%s -> %s\n", p.ContainerPort, p.Protocol, hostAddress(p))
				}
				return nil
			}
			return c.showPort(rec, ports, args[1])
		},
	}
}

func (c containers) showPort(rec runner.Container, ports []runner.PortSpec, text string) error {
	wanted, err := parseExpose(text)
	if err != nil || len(wanted) != 1 {
		return usageError("invalid port %q: want PORT[/PROTOCOL]", text)
	}
	found := false
	for _, p := range ports {
		if p.ContainerPort == wanted[0].ContainerPort && p.Protocol == wanted[0].Protocol {
			found = true
			fmt.Fprintln(c.app.Stdout, hostAddress(p))
		}
	}
	if !found {
		return fmt.Errorf("no public port '%s' published for %s", text, rec.Name)
	}
	return nil
}

// published are the ports that really are, with the host ports chosen.
func published(rec runner.Container) []runner.PortSpec {
	var ports []runner.PortSpec
	for _, a := range rec.State.Attached {
		ports = append(ports, a.Ports...)
	}
	return ports
}

// reached are the published ports with the host addresses at which they answer: one
// that is published on all addresses answers on those of the families that the
// container has an address of. Nobody translates between the families, as docker's
// proxy does, so [::]:8080 of a container with IPv4 alone would be no truth.
func reached(rec runner.Container) []runner.PortSpec {
	var ports []runner.PortSpec
	for _, a := range rec.State.Attached {
		for _, all := range wildcards(a.Addresses) {
			for _, p := range a.Ports {
				if !p.HostIP.IsValid() {
					p.HostIP = all
				}
				if p.HostIP.Is4() == all.Is4() {
					ports = append(ports, p)
				}
			}
		}
	}
	return ports
}

// wildcards are 0.0.0.0 and ::, as far as there are addresses of their family.
func wildcards(addresses []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == all.Is4() }) {
			out = append(out, all)
		}
	}
	return out
}

func sortedPorts(ports []runner.PortSpec) []runner.PortSpec {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b runner.PortSpec) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol),
			a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return ports
}

func hostAddress(p runner.PortSpec) string {
	return net.JoinHostPort(p.HostIP.String(), strconv.Itoa(int(p.HostPort)))
}

// portsText is the column of ps: published ports, neighbours folded into
// ranges, then those that are only exposed.
func portsText(rec runner.Container) string {
	if !rec.State.Status.Active() {
		return ""
	}
	ports := sortedPorts(reached(rec))
	slices.SortStableFunc(ports, func(a, b runner.PortSpec) int { return a.HostIP.Compare(b.HostIP) }) // 0.0.0.0 first
	texts := foldPorts(ports)
	for _, e := range sortedPorts(rec.Exposed) {
		if !slices.ContainsFunc(ports, func(p runner.PortSpec) bool {
			return p.ContainerPort == e.ContainerPort && p.Protocol == e.Protocol
		}) {
			texts = append(texts, fmt.Sprintf("%d/%s", e.ContainerPort, e.Protocol))
		}
	}
	return strings.Join(texts, ", ")
}

// foldPorts writes ports that follow each other as ranges.
func foldPorts(ports []runner.PortSpec) []string {
	var texts []string
	for i := 0; i < len(ports); {
		first := ports[i]
		end := i + 1
		for end < len(ports) && follows(ports[end-1], ports[end]) {
			end++
		}
		last := ports[end-1]
		i = end
		host, inside := hostAddress(first), strconv.Itoa(int(first.ContainerPort))
		if last != first {
			host += "-" + strconv.Itoa(int(last.HostPort))
			inside += "-" + strconv.Itoa(int(last.ContainerPort))
		}
		texts = append(texts, host+"->"+inside+"/"+first.Protocol)
	}
	return texts
}

func follows(a, b runner.PortSpec) bool {
	return a.Protocol == b.Protocol && a.HostIP == b.HostIP &&
		b.ContainerPort == a.ContainerPort+1 && b.HostPort == a.HostPort+1
}
