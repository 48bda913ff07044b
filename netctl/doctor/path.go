package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// pathChecks: what the host has to do for packets to pass.
func pathChecks() []Check {
	return []Check{
		{"the two share a network", func(c *Case) bool { return c.Peer != nil }, shared},
		{"the network has a way out", func(c *Case) bool { return c.outward() }, func(_ context.Context, c *Case) (*Finding, error) {
			if c.allInternal() {
				return internalFinding(c), nil
			}
			return nil, nil
		}},
		{"the host forwards", func(c *Case) bool { return c.forwarded() }, forwarding},
		{"the host has a route there", func(c *Case) bool {
			return c.outward() && c.Address.IsValid() && slices.ContainsFunc(c.Subject.Attached, isBridge)
		}, hostRoute},
		{"the host lets its packets through by that route", func(c *Case) bool {
			return c.outward() && c.Address.IsValid() && slices.ContainsFunc(c.Subject.Attached, isBridge)
		}, policyRoute},
		{"the host has the addresses of the published ports", func(c *Case) bool { return c.Subject != nil && !c.asked() && c.Subject.Own() }, hostAddress},
		{"local ports lead to containers", func(c *Case) bool { return len(c.loopbackPorts()) > 0 }, localRouting},
		{"the kernel has room for more neighbours", nil, neighbours},
		{"the kernel has room for more connections", nil, connections},
	}
}

// neighbours: all namespaces share a table, and where it is full packets to new
// neighbours are refused at once.
func neighbours(_ context.Context, c *Case) (*Finding, error) {
	for _, table := range []string{"ipv4", "ipv6"} {
		n, limit, err := c.World.Neighbours(table)
		if err != nil {
			return nil, err
		}
		if limit > 0 && n*100 >= limit*95 {
			key := "net." + table + ".neigh.default.gc_thresh3"
			return &Finding{fmt.Sprintf("the kernel's neighbour table (%s) has %d of %d entries: packets to further neighbours are lost", table, n, limit),
				fmt.Sprintf("sysctl -w %s=%d", key, 8*limit)}, nil
		}
	}
	return nil, nil
}

// connections: each is tracked, for published ports and masquerade, and where the table is
// full packets of new ones are dropped (nf_conntrack-sysctl).
func connections(_ context.Context, c *Case) (*Finding, error) {
	const key = "net.netfilter.nf_conntrack_"
	var n, limit int
	for _, v := range []struct {
		name string
		into *int
	}{{"count", &n}, {"max", &limit}} {
		text, err := c.World.Sysctl(Host, key+v.name)
		if err != nil {
			return nil, err
		}
		if *v.into, err = strconv.Atoi(text); err != nil {
			return nil, nil //nolint:nilerr // connections are not tracked
		}
	}
	if limit == 0 || n*100 < limit*95 {
		return nil, nil
	}
	return &Finding{fmt.Sprintf("the kernel tracks %d connections and takes no more than %d: packets of further ones are dropped", n, limit),
		fmt.Sprintf("sysctl -w %smax=%d", key, 4*limit)}, nil
}

// outward: something outside of the containers' networks is to be reached.
func (c *Case) outward() bool {
	return c.Subject != nil && c.Subject.Own() && c.Peer == nil && (c.Address.IsValid() && !c.onLink(c.Address) || c.Name != "")
}

// onLink: the address is in a network of the subject.
func (c *Case) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(c.Subject.Attached, func(at Attachment) bool {
		return slices.ContainsFunc(at.Addresses, func(p netip.Prefix) bool { return p.Masked().Contains(a) })
	})
}

// forwarded: packets have to pass from one interface of the host to another.
func (c *Case) forwarded() bool {
	if c.Subject == nil {
		return c.Port == 0
	}
	return c.Subject.Own() && (c.outward() || !c.asked() && len(c.Subject.Published) > 0) && slices.ContainsFunc(c.Subject.Attached, isBridge)
}

func shared(_ context.Context, c *Case) (*Finding, error) {
	if !c.Subject.Own() || !c.Peer.Own() {
		return nil, nil
	}
	for _, a := range c.Subject.Attached {
		for _, b := range c.Peer.Attached {
			if a.Network.Name != b.Network.Name {
				continue
			}
			if a.Network.Apart {
				return &Finding{fmt.Sprintf("network %s keeps its containers apart (option com.docker.network.bridge.enable_icc=false)", a.Network.Name),
					fmt.Sprintf("netctl create TOGETHER && netctl connect TOGETHER %s && netctl connect TOGETHER %s", c.Subject.Name, c.Peer.Name)}, nil
			}
			return nil, nil
		}
	}
	network := "NETWORK"
	if len(c.Peer.Attached) > 0 {
		network = c.Peer.Attached[0].Network.Name
	}
	return &Finding{fmt.Sprintf("%s and %s have no network in common (%s; %s)", c.Subject.Name, c.Peer.Name, networkNames(c.Subject), networkNames(c.Peer)),
		fmt.Sprintf("netctl connect %s %s", network, c.Subject.Name)}, nil
}

func networkNames(c *Container) string {
	names := ""
	for _, a := range c.Attached {
		if names != "" {
			names += ", "
		}
		names += a.Network.Name
	}
	if names == "" {
		names = "none"
	}
	return c.Name + ": " + names
}

// forwarding is a setting of each family; that of IPv6 matters to those who have such
// an address, and ask for one or for nothing in particular.
func forwarding(_ context.Context, c *Case) (*Finding, error) {
	if c.Subject == nil && !slices.ContainsFunc(c.All, (*Container).Own) {
		return nil, nil
	}
	keys := []string{"net.ipv4.ip_forward"}
	const six = "net.ipv6.conf.all.forwarding"
	switch {
	case c.Address.Is6() && !c.Address.Is4In6():
		keys = []string{six}
	case !c.Address.IsValid() && c.Subject != nil && c.Subject.routed6():
		keys = append(keys, six)
	}
	for _, key := range keys {
		value, err := c.World.Sysctl(Host, key)
		if err != nil {
			return nil, err
		}
		if value == "0" {
			return &Finding{"the host does not forward packets: " + key + " is 0", "sysctl -w " + key + "=1"}, nil
		}
	}
	return nil, nil
}

// hostRoute: what a container sends out of its network the host has to know where
// to send to.
func hostRoute(_ context.Context, c *Case) (*Finding, error) {
	_, ok, err := c.World.Routed(Host, c.Address)
	if err != nil || ok {
		return nil, err
	}
	return &Finding{fmt.Sprintf("the host itself has no route to %s", c.Address), fmt.Sprintf("ip route add %s via GATEWAY", netip.PrefixFrom(c.Address, c.Address.BitLen()))}, nil
}

// policyRoute: a rule of policy routing (ip-rule(8)), of a VPN that lets nothing else out
// for instance, may have another route for what comes from a bridge than for the host's
// own packets.
func policyRoute(ctx context.Context, c *Case) (*Finding, error) {
	for _, a := range c.Subject.Attached {
		if !isBridge(a) {
			continue
		}
		for _, p := range a.Addresses {
			if p.Addr().Is4() != c.Address.Is4() {
				continue
			}
			refusal, err := c.World.Forwards(ctx, a.Network.Device, p.Addr(), c.Address)
			if err != nil {
				return nil, err
			}
			if refusal != "" {
				return &Finding{
					fmt.Sprintf("the host does not let packets from %s (%s) go to %s: %s, by a rule of policy routing that its own packets do not meet", p.Addr(), a.Network.Device, c.Address, refusal),
					fmt.Sprintf("ip rule add iif %s lookup main priority 1", a.Network.Device),
				}, nil
			}
		}
	}
	return nil, nil
}

// hostAddress: a port may be published on an address that the host has lost since, as on
// a machine that changes networks.
func hostAddress(_ context.Context, c *Case) (*Finding, error) {
	links, err := c.World.Links(Host)
	if err != nil {
		return nil, err
	}
	for _, p := range c.wanted() {
		if !p.HostIP.IsValid() || p.HostIP.IsUnspecified() || p.HostIP.IsLoopback() {
			continue
		}
		if slices.ContainsFunc(links, func(l Link) bool {
			return slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return a.Addr() == p.HostIP })
		}) {
			continue
		}
		return &Finding{
			fmt.Sprintf("port %d is published on %s, an address that the host does not have (any more)", p.Host, p.HostIP),
			fmt.Sprintf("run %s again with -p %d:%d, which means all addresses", c.Subject.Name, p.Host, p.Container),
		}, nil
	}
	return nil, nil
}

// routed6 tells whether a network gives the container IPv6 by way of the host.
func (c *Container) routed6() bool {
	return slices.ContainsFunc(c.Attached, func(a Attachment) bool {
		return isBridge(a) && !a.Network.Internal && slices.ContainsFunc(a.Gateways, func(g netip.Addr) bool { return g.Is6() })
	})
}

// loopbackPorts are published ports that clients on the host reach by
// 127.0.0.1: none of a container without an IPv4 address, as ports are not led
// from one address family to the other, and the kernel leads none from ::1.
func (c *Case) loopbackPorts() []Port {
	if c.Subject == nil || c.asked() || !c.Subject.Own() {
		return nil
	}
	if a, _ := c.Subject.address(); !a.Is4() {
		return nil
	}
	var ports []Port
	for _, p := range c.wanted() {
		if p.Host != 0 && (!p.HostIP.IsValid() || p.HostIP == netip.MustParseAddr("127.0.0.1")) {
			ports = append(ports, p)
		}
	}
	return ports
}

// localRouting: packets with 127.0.0.1 in them may leave by a bridge only if it
// allows so (route_localnet, Documentation/networking/ip-sysctl). Of a container's
// bridges it is the one that its published ports lead to.
func localRouting(_ context.Context, c *Case) (*Finding, error) {
	for _, a := range c.Subject.Attached {
		if !a.Publishes || !isBridge(a) || len(a.Gateways) == 0 || !a.Gateways[0].Is4() {
			continue
		}
		key := "net.ipv4.conf." + a.Network.Device + ".route_localnet"
		value, err := c.World.Sysctl(Host, key)
		all, _ := c.World.Sysctl(Host, "net.ipv4.conf.all.route_localnet")
		if err != nil {
			return nil, err
		}
		if value == "0" && all == "0" {
			return &Finding{fmt.Sprintf("127.0.0.1 of the host does not lead to containers: %s is 0", key), "sysctl -w " + key + "=1"}, nil
		}
	}
	return nil, nil
}
