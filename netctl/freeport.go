package netctl

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/netctl/netctl/netctl/runner"
)

// choosePorts fills in a free host port where any will do. The kernel chooses
// it, from net.ipv4.ip_local_port_range; the ledger decides whether another
// container has it.
func choosePorts(ports []runner.PortSpec) ([]runner.PortSpec, error) {
	chosen := append([]runner.PortSpec(nil), ports...)
	for i, p := range chosen {
		if p.HostPort != 0 {
			continue
		}
		port, err := freePort(p.Protocol, p.HostIP)
		if err != nil {
			return nil, fmt.Errorf("choose a host port for %d/%s: %w", p.ContainerPort, p.Protocol, err)
		}
		chosen[i].HostPort = port
	}
	return chosen, nil
}

// freePort has the kernel choose. SCTP ports are chosen among UDP's: the
// protocol may not be loaded.
func freePort(protocol string, host netip.Addr) (uint16, error) {
	address := ":0"
	if host.IsValid() {
		address = netip.AddrPortFrom(host, 0).String()
	}
	if protocol == "tcp" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return 0, err
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
	}
	l, err := net.ListenPacket("udp", address)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}
