package names

import "net/netip"

// Kind is what a name is to us.
type Kind uint8

// The kinds. Foreign names are for the upstream servers.
const (
	Foreign Kind = iota
	// Exists: the name is ours. Whatever the type of the question, it is
	// answered here: a type that we have nothing of is an empty answer.
	Exists
	// Missing: the name would be ours, and nobody has it (NXDOMAIN).
	Missing
)

// An Answer is what is known of a name, whatever the type asked for.
type Answer struct {
	Kind Kind
	// Set are the addresses at the name, Pointer what it points at if it is a
	// reverse name. At most one of them is there.
	Set     *Set
	Pointer Name
	// Apex is a name that has an SOA and an NS record of its own.
	Apex bool
	// Zone tells where in the question's name the zone it belongs to begins:
	// the SOA record of a negative answer is owned by name[Zone:].
	Zone int
	// Server is the zone's name server.
	Server Name
	// Network is where the name was found and Tier how: 1 for a name of the
	// container's own, 2 for a hostname, 0 for what belongs to no container.
	Network string
	Tier    int
}

const (
	gatewayLabel Name = "\x07gateway"
	hostLabel    Name = "\x04host"
	localhost    Name = "\x09localhost"
)

// reserved tells of names that mean the host, and so are a container's only
// in the form X.N.<base>.
func reserved(name []byte) bool {
	return string(name) == string(hostLabel) || string(name) == string(gatewayLabel)
}

// Lookup finds what a name in wire form and lower case is to a client.
func (s *Snapshot) Lookup(c *Client, name []byte) Answer {
	if before, ok := cutSuffix(name, localhost); ok {
		return Answer{Kind: Exists, Set: loopback(), Zone: len(before), Server: localhost}
	}
	if isHostAlias(name) {
		return s.hostItself(c, len(name)-len(parentOf(name)))
	}
	if rel, ok := cutSuffix(name, s.base); ok {
		return s.underBase(c, rel)
	}
	if a, ok := s.reverse(c, name); ok {
		return a
	}
	if n, v, _ := s.qualified(c, name); v != nil && !reserved(name[:len(name)-len(n.label)]) {
		return s.found(c, n, v, 0)
	}
	if n, v := s.anywhere(c, name); v != nil {
		return s.found(c, n, v, 0)
	}
	return s.notOurs(c, name)
}

// underBase looks up <rel>.<base>. Nothing below the base domain ever leaves.
func (s *Snapshot) underBase(c *Client, rel []byte) Answer {
	zone, server := s.zoneOf(c, rel)
	a := Answer{Kind: Missing, Zone: zone, Server: server}
	if len(rel) == 0 || zone == 0 {
		a.Kind, a.Apex = Exists, true
	}
	if string(rel) == string(hostLabel) {
		return s.hostItself(c, len(rel))
	}
	n, v, gateway := s.qualified(c, rel)
	if v == nil && gateway == nil {
		n, v = s.anywhere(c, rel)
	}
	switch {
	case v != nil:
		found := s.found(c, n, v, zone)
		found.Server, found.Apex = server, a.Apex
		return found
	case gateway != nil:
		a.Kind, a.Set, a.Network = Exists, gateway, n.name
	case s.hasBelow(c, rel):
		a.Kind = Exists
	}
	return a
}

// found is the answer for a name that somebody has.
func (s *Snapshot) found(c *Client, n *network, v *node, zone int) Answer {
	a := Answer{Kind: Exists, Set: v.set, Zone: zone, Server: s.server(c), Network: n.name, Tier: 2}
	if len(v.own) > 0 {
		a.Tier = 1
	}
	return a
}

// qualified looks for X.N: a network that the client is on, and a name on it.
// If network names end in each other, the longest one that knows X answers.
// The gateway has a name of its own there, unless a container took it.
func (s *Snapshot) qualified(c *Client, name []byte) (in *network, at *node, gateway *Set) {
	for _, i := range c.networks {
		n := s.networks[i]
		x, ok := cutSuffix(name, n.label)
		if !ok || n.label == "" || len(x) == 0 || (in != nil && len(in.label) >= len(n.label)) {
			continue
		}
		if v := n.find(x); v != nil {
			in, at, gateway = n, v, nil
		} else if string(x) == string(gatewayLabel) {
			in, at, gateway = n, nil, n.gateway
		}
	}
	return in, at, gateway
}

// anywhere looks for X on the client's networks, the oldest attachment first.
func (s *Snapshot) anywhere(c *Client, name []byte) (*network, *node) {
	if len(name) == 0 || reserved(name) {
		return nil, nil
	}
	for _, i := range c.networks {
		if v := s.networks[i].find(name); v != nil {
			return s.networks[i], v
		}
	}
	return nil, nil
}

// zoneOf is where in <rel>.<base> the innermost zone begins, and its server.
func (s *Snapshot) zoneOf(c *Client, rel []byte) (at int, server Name) {
	at, server = len(rel), s.server(c)
	for _, i := range c.networks {
		n := s.networks[i]
		if x, ok := cutSuffix(rel, n.label); ok && n.label != "" && len(x) < at {
			at, server = len(x), n.server
		}
	}
	return at, server
}

// server is the name server of the zones that belong to no network.
func (s *Snapshot) server(c *Client) Name {
	for _, i := range c.networks {
		if n := s.networks[i]; n.server != "" {
			return n.server
		}
	}
	return s.base
}

// hasBelow tells whether there are names below rel: then rel itself exists,
// with nothing at it (RFC 8020 section 2).
func (s *Snapshot) hasBelow(c *Client, rel []byte) bool {
	for _, i := range c.networks {
		n := s.networks[i]
		if n.nodes.get(rel) != nil {
			return true
		}
		if x, ok := cutSuffix(rel, n.label); ok && n.label != "" && n.nodes.get(x) != nil {
			return true
		}
		if _, ok := cutSuffix([]byte(n.label), Name(rel)); ok {
			return true
		}
	}
	return false
}

// hostItself is the answer for the names of the host: the gateway of the
// client's first network that is not internal.
func (s *Snapshot) hostItself(c *Client, zone int) Answer {
	a := Answer{Kind: Missing, Zone: zone, Server: s.server(c)}
	if c.gateway != nil {
		a.Kind, a.Set = Exists, c.gateway
	}
	return a
}

func loopback() *Set {
	return newSet([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()})
}
