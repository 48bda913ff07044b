package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// linkChecks: are the interfaces what they were made to be.
func linkChecks() []Check {
	own := func(c *Case) bool { return c.Subject != nil && c.Subject.Own() }
	bridged := func(c *Case) bool { return own(c) && slices.ContainsFunc(c.Subject.Attached, isBridge) }
	return []Check{
		{"its interfaces are up, with their addresses", own, interfaces},
		{"the bridge is up, with the gateway's address", bridged, bridges},
		{"the host's way to it is its bridge", bridged, overlap},
		{"it has a route", own, routes},
	}
}

func isBridge(a Attachment) bool { return a.Network.Driver == "bridge" }

func interfaces(_ context.Context, c *Case) (*Finding, error) {
	links, err := c.World.Links(c.Subject.Namespace)
	if err != nil {
		return nil, err
	}
	name := c.Subject.Name
	for _, a := range c.Subject.Attached {
		if a.Interface == "lo" || a.Interface == "" {
			continue
		}
		l, ok := link(links, a.Interface)
		again := fmt.Sprintf("netctl disconnect %s %s && netctl connect %s %s", a.Network.Name, name, a.Network.Name, name)
		switch {
		case !ok:
			return &Finding{fmt.Sprintf("interface %s of %s is gone (network %s)", a.Interface, name, a.Network.Name), again}, nil
		case !l.Up:
			return &Finding{fmt.Sprintf("interface %s of %s is down", a.Interface, name), again}, nil
		}
		for _, p := range a.Addresses {
			if !slices.Contains(l.Addresses, p) {
				return &Finding{fmt.Sprintf("interface %s of %s has lost its address %s", a.Interface, name, p), again}, nil
			}
		}
	}
	return nil, nil
}

func bridges(_ context.Context, c *Case) (*Finding, error) {
	links, err := c.World.Links(Host)
	if err != nil {
		return nil, err
	}
	for _, a := range c.Subject.Attached {
		if !isBridge(a) {
			continue
		}
		device := a.Network.Device
		l, ok := link(links, device)
		switch {
		case !ok:
			return &Finding{fmt.Sprintf("bridge %s of network %s is gone", device, a.Network.Name), "netctl restart " + c.Subject.Name}, nil
		case !l.Up:
			return &Finding{fmt.Sprintf("bridge %s of network %s is down", device, a.Network.Name), fmt.Sprintf("ip link set %s up", device)}, nil
		}
		for _, g := range a.Network.Gateways {
			if !slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr() == g.Addr() }) {
				return &Finding{fmt.Sprintf("bridge %s of network %s has lost its address %s, the containers' gateway", device, a.Network.Name, g),
					fmt.Sprintf("ip address add %s dev %s", g, device)}, nil
			}
		}
	}
	return nil, nil
}

// overlap: a more special route, of a VPN that came later for instance, takes the
// network's packets elsewhere.
func overlap(_ context.Context, c *Case) (*Finding, error) {
	for _, a := range c.Subject.Attached {
		if !isBridge(a) {
			continue
		}
		for _, p := range a.Addresses {
			link, ok, err := c.World.Routed(Host, p.Addr())
			if err != nil {
				return nil, err
			}
			if !ok || link == "" || link == a.Network.Device {
				continue
			}
			return &Finding{
				fmt.Sprintf("the host sends packets for %s by %s, not by bridge %s: another route has addresses of network %s (%s)", p.Addr(), link, a.Network.Device, a.Network.Name, p.Masked()),
				fmt.Sprintf("ip route add %s dev %s", netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), a.Network.Device),
			}, nil
		}
	}
	return nil, nil
}

// routes: to what is asked for, or to anywhere.
func routes(_ context.Context, c *Case) (*Finding, error) {
	to := c.Address
	if c.Peer != nil {
		return nil, nil // on the same link, or the next checks say why not
	}
	if !to.IsValid() {
		if to = c.gateway(); !to.IsValid() {
			return nil, nil
		}
		to = netip.MustParseAddr("192.0.2.1") // TEST-NET: stands for the world
	}
	_, ok, err := c.World.Routed(c.Subject.Namespace, to)
	if err != nil || ok {
		return nil, err
	}
	if c.Address.IsValid() && c.allInternal() {
		return internalFinding(c), nil
	}
	name, network := c.Subject.Name, c.Subject.Attached[0].Network.Name
	return &Finding{fmt.Sprintf("%s has no route to %s", name, destination(c)),
		fmt.Sprintf("netctl disconnect %s %s && netctl connect %s %s", network, name, network, name)}, nil
}

// gateway is the subject's first of IPv4; zero on internal networks.
func (c *Case) gateway() netip.Addr {
	for _, a := range c.Subject.Attached {
		if a.Network.Internal {
			continue
		}
		for _, g := range a.Gateways {
			if g.Is4() {
				return g
			}
		}
	}
	return netip.Addr{}
}

func (c *Case) allInternal() bool {
	return !slices.ContainsFunc(c.Subject.Attached, func(a Attachment) bool { return !a.Network.Internal })
}

func internalFinding(c *Case) *Finding {
	var names []string
	for _, a := range c.Subject.Attached {
		names = append(names, a.Network.Name)
	}
	return &Finding{fmt.Sprintf("%s is on internal networks only (%s), which have no way out", c.Subject.Name, strings.Join(names, ", ")),
		"netctl connect bridge " + c.Subject.Name}
}

func destination(c *Case) string {
	switch {
	case c.Peer != nil:
		return c.Peer.Name
	case c.Address.IsValid():
		return c.Address.String()
	case c.Name != "":
		return c.Name
	}
	return "the world outside of its network"
}
