package plumbing

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/netctl/runner"
)

// choosePorts fills in a free host port where any will do, or any of a range. For
// the former the kernel chooses, from net.ipv4.ip_local_port_range; of a range it
// is the first on which nobody listens. Whether another container has it the
// ledger decides: then there is a next try, counted from 0, which passes over so
// many of a range.
func choosePorts(ports []runner.PortSpec, try int) ([]runner.PortSpec, error) {
	chosen := append([]runner.PortSpec(nil), ports...)
	for i, p := range chosen {
		var err error
		switch {
		case p.HostPortEnd != 0:
			chosen[i].HostPort, err = firstFree(p, chosen[:i], try)
			chosen[i].HostPortEnd = 0
		case p.HostPort == 0:
			chosen[i].HostPort, err = freePort(p.Protocol, netip.AddrPortFrom(p.HostIP, 0))
		}
		if err != nil {
			return nil, fmt.Errorf("choose a host port for %d/%s: %w", p.ContainerPort, p.Protocol, err)
		}
	}
	return chosen, nil
}

// firstFree passes over the ports that the container's other specs have, those
// somebody listens on, and then as many as have been tried in vain.
func firstFree(p runner.PortSpec, taken []runner.PortSpec, skip int) (uint16, error) {
	for port := int(p.HostPort); port <= int(p.HostPortEnd); port++ {
		mine := slices.ContainsFunc(taken, func(o runner.PortSpec) bool {
			return o.HostPort == uint16(port) && o.Protocol == p.Protocol
		})
		if mine {
			continue
		}
		if _, err := freePort(p.Protocol, netip.AddrPortFrom(p.HostIP, uint16(port))); err != nil {
			continue
		}
		if skip == 0 {
			return uint16(port), nil
		}
		skip--
	}
	return 0, fmt.Errorf("all of %d-%d are in use", p.HostPort, p.HostPortEnd)
}

// freePort has the kernel choose where the port is 0, and else try that one. SCTP ports are chosen among UDP's: the
// protocol may not be loaded.
func freePort(protocol string, at netip.AddrPort) (uint16, error) {
	address := fmt.Sprintf(":%d", at.Port())
	if at.Addr().IsValid() {
		address = at.String()
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
