package attach

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// portsOf checks the portMappings capability and folds runs of consecutive
// ports into ranges, because a range is one rule.
func portsOf(mappings []cni.PortMapping) ([]ledger.Port, error) {
	var ports []ledger.Port
	for i, m := range mappings {
		p, err := portOf(m)
		if err != nil {
			return nil, cni.Errorf(cni.CodeConfig, "runtimeConfig.portMappings[%d]: %w", i, err)
		}
		if n := len(ports); n > 0 && continues(ports[n-1], p) {
			ports[n-1].Count = max(ports[n-1].Count, 1) + 1
			continue
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func portOf(m cni.PortMapping) (ledger.Port, error) {
	for _, port := range []struct {
		key   string
		value int
	}{{"hostPort", m.HostPort}, {"containerPort", m.ContainerPort}} {
		if port.value < 1 || port.value > 65535 {
			return ledger.Port{}, fmt.Errorf("invalid %s %d: want 1 to 65535", port.key, port.value)
		}
	}
	protocol := strings.ToLower(m.Protocol)
	if protocol == "" {
		protocol = string(wire.TCP)
	}
	if !slices.Contains([]wire.Protocol{wire.TCP, wire.UDP, wire.SCTP}, wire.Protocol(protocol)) {
		return ledger.Port{}, fmt.Errorf("invalid protocol %q: want tcp, udp or sctp", m.Protocol)
	}
	p := ledger.Port{Protocol: protocol, HostPort: uint16(m.HostPort), Container: uint16(m.ContainerPort)}
	if m.HostIP == "" {
		return p, nil
	}
	host, err := netip.ParseAddr(m.HostIP)
	if err != nil {
		return ledger.Port{}, fmt.Errorf("invalid hostIP %q: want an IP address of this host, or none for all", m.HostIP)
	}
	if !host.IsUnspecified() {
		p.HostIP = host.Unmap()
	}
	return p, nil
}

// continues tells that p is the next port of the range.
func continues(last, p ledger.Port) bool {
	n := max(last.Count, 1)
	return last.Protocol == p.Protocol && last.HostIP == p.HostIP &&
		p.HostPort == last.HostPort+n && p.Container == last.Container+n
}

// publishOf leads the ports to the container's addresses, once per family. A
// host address selects its own family.
func publishOf(ports []ledger.Port, addresses []wire.Address) []wire.Publish {
	var result []wire.Publish
	for _, is4 := range []bool{true, false} {
		i := slices.IndexFunc(addresses, func(a wire.Address) bool { return a.Prefix.Addr().Is4() == is4 })
		if i < 0 {
			continue
		}
		for _, p := range ports {
			if p.HostIP.IsValid() && p.HostIP.Is4() != is4 {
				continue
			}
			result = append(result, wire.Publish{
				Protocol: wire.Protocol(p.Protocol), HostIP: p.HostIP, HostPort: p.HostPort,
				Container: addresses[i].Prefix.Addr(), ContainerPort: p.Container,
				Count: p.Count, Subnet: addresses[i].Prefix.Masked(),
			})
		}
	}
	return result
}

// testBind finds out whether a process of the host listens on a port that is
// about to be published: our rules would silently take its traffic away. The
// sockets are closed at once; the ledger keeps the port from other containers.
// Our resolver's sockets at gateways, whose traffic the rules leave alone, are
// in nobody's way.
func (a *Attacher) testBind(ports []ledger.Port) error {
	for _, p := range ports {
		for i := range max(p.Count, 1) {
			port := p.HostPort + i
			err := bindOnce(p.Protocol, p.HostIP, port)
			if errors.Is(err, syscall.EADDRINUSE) && !p.HostIP.IsValid() && a.onlyResolver(p.Protocol, port) {
				continue
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return cni.Errorf(cni.CodePort, "port %d/%s on %s is in use by %s", port, p.Protocol, anyText(p.HostIP), listener(p.Protocol, port)).
					WithHint("publish another host port, or stop what listens there")
			} else if errors.Is(err, syscall.EADDRNOTAVAIL) {
				return cni.Errorf(cni.CodeConfig, "port %d/%s: host address %s is not an address of this host", port, p.Protocol, p.HostIP)
			}
		}
	}
	return nil
}

// bindOnce binds a socket and closes it. Package net would do that too, after
// it has found out what protocols this host has, in a quarter of a millisecond.
// "Any address" is that of IPv6, with IPv4 in it, where there is IPv6.
func bindOnce(protocol string, host netip.Addr, port uint16) error {
	kind := socketKind(protocol)
	if kind.protocol == unix.IPPROTO_SCTP && !hasSCTP() {
		return nil
	}
	if host.Is4() {
		return kind.bind(unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: host.As4()})
	}
	address := &unix.SockaddrInet6{Port: int(port)}
	if host.IsValid() {
		address.Addr = host.As16()
	}
	err := kind.bind(unix.AF_INET6, address)
	if !host.IsValid() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
		return kind.bind(unix.AF_INET, &unix.SockaddrInet4{Port: int(port)})
	}
	return err
}

// kind is a type of socket with its protocol (socket(2)).
type kind struct{ socket, protocol int }

func socketKind(protocol string) kind {
	switch wire.Protocol(protocol) {
	case wire.UDP:
		return kind{unix.SOCK_DGRAM, unix.IPPROTO_UDP}
	case wire.SCTP:
		return kind{unix.SOCK_STREAM, unix.IPPROTO_SCTP}
	default:
		return kind{unix.SOCK_STREAM, unix.IPPROTO_TCP}
	}
}

// sctpEndpoints is there when the kernel has SCTP.
const sctpEndpoints = "/proc/net/sctp/eps"

// hasSCTP tells whether the kernel has SCTP loaded. Where it has not, nobody
// listens; making a socket would load the module, on hosts that do without it
// for their safety.
func hasSCTP() bool {
	_, err := os.Stat(sctpEndpoints)
	return err == nil
}

func (k kind) bind(family int, address unix.Sockaddr) error {
	fd, err := unix.Socket(family, k.socket|unix.SOCK_CLOEXEC, k.protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		// With a host address it stands for IPv6 alone.
		only := 0
		if a, ok := address.(*unix.SockaddrInet6); ok && a.Addr != [16]byte{} {
			only = 1
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, only)
	}
	if k.protocol == unix.IPPROTO_TCP {
		// A port in TIME_WAIT is nobody's.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err := unix.Bind(fd, address); err != nil || k.socket != unix.SOCK_STREAM {
		return err
	}
	// Two may bind a port when both have SO_REUSEADDR; only one may listen.
	return unix.Listen(fd, 1)
}

func anyText(a netip.Addr) string {
	if !a.IsValid() {
		return "any address"
	}
	return a.String()
}
