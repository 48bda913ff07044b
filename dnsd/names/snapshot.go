package names

import (
	"maps"
	"net/netip"
	"slices"
)

// A Snapshot is what the resolver knows at one generation of the ledger. It
// never changes, and any number of goroutines may use it.
type Snapshot struct {
	// Generation is the ledger's, of the newest change contained.
	Generation uint64
	// ListenersSince is the generation since which the listeners are the same.
	ListenersSince uint64
	// Endpoints is the number of attachments that are served.
	Endpoints int

	base      Name
	networks  []*network           // by number; nil where a number is free
	listeners map[Listener]*Client // what the host is at each, or the one container that can ask there
	places    map[Listener]Place
	gateways  map[netip.Addr]struct{}
	subnets   prefixSet
}

// Base is the domain under which every name is found: <name>.<network>.<base>.
func (s *Snapshot) Base() Name { return s.base }

// Client is who asks at a listener from an address, or nil if the address is
// no container's of a network there.
func (s *Snapshot) Client(at Listener, source netip.Addr) *Client {
	l := s.listeners[at]
	if l == nil || at.Container != "" {
		return l // whoever asks inside a container is that container
	}
	for _, i := range l.networks {
		if c := s.networks[i].clients.get(source); c != nil {
			return c
		}
	}
	return nil
}

// Host is the client that the host itself is at a listener: it sees the
// networks of that listener. It is nil if there is no such listener.
func (s *Snapshot) Host(at Listener) *Client { return s.listeners[at] }

// IsGateway tells whether questions are answered at an address: to use it as
// an upstream server would be a loop.
func (s *Snapshot) IsGateway(a netip.Addr) bool {
	_, ok := s.gateways[a.Unmap()]
	return ok
}

// Listeners are where questions arrive, in no order.
func (s *Snapshot) Listeners() []Listener { return slices.Collect(maps.Keys(s.listeners)) }

// Places are the listeners and where their sockets are to be.
func (s *Snapshot) Places() map[Listener]Place {
	m := make(map[Listener]Place, len(s.listeners))
	for l := range s.listeners {
		m[l] = s.places[l]
	}
	return m
}

// ListenersOf are those of one network.
func (s *Snapshot) ListenersOf(network string) []Listener {
	var list []Listener
	for l, c := range s.listeners {
		for _, i := range c.networks {
			if l.Container == "" && s.networks[i].name == network {
				list = append(list, l)
			}
		}
	}
	return list
}

// Container finds a client by its container's ID or one of its own names. It
// walks over everything: a tool for people, not for questions.
func (s *Snapshot) Container(id string) *Client {
	name, _ := Parse(id)
	var named *Client
	for _, n := range s.networks {
		for c := range n.everyone() {
			if c.Container == id {
				return c
			}
			if slices.ContainsFunc(c.endpoints, func(e *endpoint) bool { return slices.Contains(e.own, name) }) {
				named = c
			}
		}
	}
	return named
}

// prefixSet answers which prefix contains an address, with one lookup for
// each prefix length in use.
type prefixSet struct {
	prefixes map[netip.Prefix]struct{}
	bits     []int // lengths in use, the longest first
}

func newPrefixSet(used refs[netip.Prefix]) prefixSet {
	s := prefixSet{prefixes: make(map[netip.Prefix]struct{}, len(used))}
	for p := range used {
		s.prefixes[p] = struct{}{}
		if !slices.Contains(s.bits, p.Bits()) {
			s.bits = append(s.bits, p.Bits())
		}
	}
	slices.Sort(s.bits)
	slices.Reverse(s.bits)
	return s
}

// covering is the longest prefix of the set that contains all of p.
func (s prefixSet) covering(p netip.Prefix) (netip.Prefix, bool) {
	for _, bits := range s.bits {
		if bits > p.Bits() {
			continue
		}
		if q, err := p.Addr().Prefix(bits); err == nil {
			if _, ok := s.prefixes[q]; ok {
				return q, true
			}
		}
	}
	return netip.Prefix{}, false
}
