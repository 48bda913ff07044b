package doctor

import (
	"context"
	"fmt"
	"net/netip"
)

// reachChecks make the connection itself.
func reachChecks() []Check {
	inward := func(c *Case) bool { return c.Subject != nil && !c.asked() && c.Subject.Own() }
	return []Check{
		{"the host reaches the program", inward, fromHost},
		{"the published port leads there", func(c *Case) bool { return len(c.loopbackPorts()) > 0 && inward(c) }, byPort},
		{"clients of other hosts get there", inward, forwardedIn},
		{"the host itself reaches it", func(c *Case) bool { return c.outward() && c.Address.IsValid() && c.Port != 0 }, hostReaches},
		{"the connection is made", func(c *Case) bool { return c.asked() && c.Subject != nil && c.Port != 0 }, connect},
		{"large packets arrive", func(c *Case) bool { return c.outward() && c.Address.IsValid() }, large},
	}
}

// address is the subject's first of IPv4, or of any family.
func (c *Container) address() (netip.Addr, Attachment) {
	var first netip.Addr
	var at Attachment
	for _, a := range c.Attached {
		for _, p := range a.Addresses {
			if p.Addr().Is4() {
				return p.Addr(), a
			}
			if !first.IsValid() {
				first, at = p.Addr(), a
			}
		}
	}
	return first, at
}

func tcpPorts(ports []Port) []Port {
	var list []Port
	for _, p := range ports {
		if p.Protocol == "tcp" {
			list = append(list, p)
		}
	}
	return list
}

// fromHost connects from the host to the container's addresses, of either family: no
// published port, nothing forwarded.
func fromHost(ctx context.Context, c *Case) (*Finding, error) {
	sockets, err := c.World.Sockets(c.Subject.Namespace)
	if err != nil {
		return nil, err
	}
	for _, at := range c.Subject.Attached {
		if !isBridge(at) {
			continue // a macvlan's host does not reach its own containers
		}
		for _, address := range at.Addresses {
			for _, p := range c.wanted() {
				if !answers(sockets, p, address.Addr()) {
					continue // a program may serve one family only
				}
				f, err := probePort(ctx, c, at, p, netip.AddrPortFrom(address.Addr(), p.Container))
				if f != nil || err != nil {
					return f, err
				}
			}
		}
	}
	return nil, nil
}

// answers tells whether a socket takes what is sent to the address. One of all IPv6
// addresses takes IPv4 too, unless it says otherwise, which can't be seen from
// outside; then it is IPv4's own socket that is missing, and another check's.
func answers(sockets []Socket, p Port, to netip.Addr) bool {
	for _, s := range sockets {
		local := s.Local.Addr().Unmap()
		if s.Protocol == p.Protocol && s.Local.Port() == p.Container &&
			(local == to || local == netip.IPv6Unspecified() || local == netip.IPv4Unspecified() && to.Is4()) {
			return true
		}
	}
	return false
}

func probePort(ctx context.Context, c *Case, at Attachment, p Port, target netip.AddrPort) (*Finding, error) {
	attempt := func() error { return c.World.Dial(ctx, Host, p.Protocol, target) }
	what := fmt.Sprintf("packets of the host to %s are dropped", target)
	packet := Packet{Protocol: p.Protocol, Out: at.Network.Device, To: target}
	switch p.Protocol {
	case "udp": // no answer says nothing; what counts is whether a rule takes it away
		drops, err := c.World.Drops(ctx, packet, func() { _ = attempt() })
		if err != nil || len(drops) == 0 {
			return nil, err
		}
		return &Finding{what + " by " + drops[0].String(), drops[0].Delete}, nil
	case "tcp":
	default:
		return nil, nil
	}
	failed := attempt()
	if failed == nil {
		return nil, nil
	}
	f, err := dropped(ctx, c, packet, func() { _ = attempt() }, what, "")
	if err != nil || f.Mend != "" {
		return f, err
	}
	return &Finding{fmt.Sprintf("the host does not reach %s on bridge %s: %s", target, at.Network.Device, short(failed)),
		fmt.Sprintf("netctl disconnect %s %s && netctl connect %s %s", at.Network.Name, c.Subject.Name, at.Network.Name, c.Subject.Name)}, nil
}

// byPort connects as a client on this host.
func byPort(ctx context.Context, c *Case) (*Finding, error) {
	for _, p := range tcpPorts(c.loopbackPorts()) {
		target := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.Host)
		if err := c.World.Dial(ctx, Host, "tcp", target); err == nil {
			continue
		}
		return rulesGone(c, p), nil
	}
	return nil, nil
}

func rulesGone(c *Case, p Port) *Finding {
	return &Finding{fmt.Sprintf("port %d of the host does not lead to %s: the rules for it are gone from the packet filter", p.Host, c.Subject.Name), "netctl reload"}
}

// forwardedIn connects from the container to its own published port by way of
// the host: such packets are forwarded as those of other hosts are.
func forwardedIn(ctx context.Context, c *Case) (*Finding, error) {
	gateway := c.gateway()
	if !gateway.IsValid() {
		return nil, nil
	}
	_, at := c.Subject.address()
	for _, p := range tcpPorts(c.wanted()) {
		if p.Host == 0 || p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
			continue
		}
		target := netip.AddrPortFrom(gateway, p.Host)
		attempt := func() error { return c.World.Dial(ctx, c.Subject.Namespace, "tcp", target) }
		if attempt() == nil {
			continue
		}
		to, _ := c.Subject.address()
		return dropped(ctx, c, Packet{Protocol: "tcp", In: at.Network.Device, Out: at.Network.Device, To: netip.AddrPortFrom(to, p.Container)}, func() { _ = attempt() },
			fmt.Sprintf("packets to port %d are dropped on their way to %s", p.Host, c.Subject.Name), "netctl reload")
	}
	return nil, nil
}

// dropped makes an attempt that fails once more, and names the place of the
// packet filter that drops it; otherwise mend is the last resort.
func dropped(ctx context.Context, c *Case, p Packet, attempt func(), what, mend string) (*Finding, error) {
	drops, err := c.World.Drops(ctx, p, attempt)
	if err != nil {
		return nil, err
	}
	if len(drops) == 0 {
		return &Finding{what, mend}, nil
	}
	return &Finding{what + " by " + drops[0].String(), drops[0].Delete}, nil
}

func hostReaches(ctx context.Context, c *Case) (*Finding, error) {
	target := netip.AddrPortFrom(c.Address, c.Port)
	if err := c.World.Dial(ctx, Host, "tcp", target); err != nil {
		return &Finding{fmt.Sprintf("the host itself does not reach %s: %s", target, short(err)), "mend the host's own way there first: ip route get " + c.Address.String()}, nil
	}
	return nil, nil
}

func connect(ctx context.Context, c *Case) (*Finding, error) {
	to := c.Address
	if c.Peer != nil {
		to = c.commonAddress()
	}
	if !to.IsValid() {
		return nil, nil
	}
	target := netip.AddrPortFrom(to, c.Port)
	attempt := func() error { return c.World.Dial(ctx, c.Subject.Namespace, "tcp", target) }
	err := attempt()
	if err == nil {
		return nil, nil
	}
	out, _, routeErr := c.World.Routed(Host, to)
	if routeErr != nil {
		return nil, routeErr
	}
	return dropped(ctx, c, Packet{Protocol: "tcp", In: device(c), Out: out, To: target}, func() { _ = attempt() },
		fmt.Sprintf("packets of %s to %s are dropped", c.Subject.Name, target), "netctl reload")
}

// commonAddress is the peer's on a network that the subject has.
func (c *Case) commonAddress() netip.Addr {
	for _, b := range c.Peer.Attached {
		for _, a := range c.Subject.Attached {
			if a.Network.Name == b.Network.Name && len(b.Addresses) > 0 {
				return b.Addresses[0].Addr()
			}
		}
	}
	to, _ := c.Peer.address()
	return to
}

// large: the container's packets may be larger than the host's next link takes,
// and the message that says so may get lost (RFC 2923).
func large(ctx context.Context, c *Case) (*Finding, error) {
	links, err := c.World.Links(c.Subject.Namespace)
	if err != nil {
		return nil, err
	}
	inside, ok, err := c.World.Routed(c.Subject.Namespace, c.Address)
	if err != nil || !ok {
		return nil, err
	}
	outside, ok, err := c.World.Routed(Host, c.Address)
	if err != nil || !ok {
		return nil, err
	}
	hostLinks, err := c.World.Links(Host)
	if err != nil {
		return nil, err
	}
	in, _ := link(links, inside)
	out, _ := link(hostLinks, outside)
	if out.MTU == 0 || in.MTU <= out.MTU {
		return nil, nil
	}
	lost, err := c.World.Swallowed(ctx, c.Subject.Namespace, c.Address, in.MTU)
	if err != nil || !lost {
		return nil, err
	}
	return &Finding{fmt.Sprintf("packets of %s are up to %d bytes, %s takes %d, and the message that they are too large does not come back", c.Subject.Name, in.MTU, outside, out.MTU),
		fmt.Sprintf("make its network with -o mtu=%d, or let ICMP pass", out.MTU)}, nil
}

func short(err error) string {
	text := err.Error()
	for i := len(text) - 1; i > 0; i-- {
		if text[i-1] == ':' {
			return text[i+1:]
		}
	}
	return text
}
