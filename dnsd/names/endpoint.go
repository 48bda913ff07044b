package names

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
)

// endpoint is one attachment as the resolver sees it. It is never modified.
type endpoint struct {
	key     ledger.Key
	created time.Time
	// own are the names of the first tier: container name, aliases, short ID.
	// The first one is what a reverse lookup answers.
	own []Name
	// hostname is the second tier; "" if it is also in own.
	hostname Name
	addrs    []netip.Addr
	gateways []netip.Addr
	subnets  []netip.Prefix
	device   string
	// remote ones run on another host.
	remote bool
	// netns and inside are where the container is served in its own namespace.
	netns     string
	inside    uint16
	redirects []netip.AddrPort
	internal  bool
	servers   []netip.Addr
}

// newEndpoint takes from a record what can be served. Names that no question
// could hold are left out: ADD refuses them, so they can only come from a
// record written by something else, and one bad alias must not cost the rest.
func newEndpoint(r ledger.Record) *endpoint {
	e := &endpoint{
		key: r.Key, created: r.Created, device: r.Names.Device,
		remote: r.Names.Remote != "", internal: r.Names.Internal, servers: r.Names.Servers,
		netns: r.Netns, inside: r.Names.Inside, redirects: r.Redirects,
	}
	for _, s := range r.Names.Own {
		if n, err := Parse(s); err == nil && n != "" && !slices.Contains(e.own, n) {
			e.own = append(e.own, n)
		}
	}
	if n, err := Parse(r.Names.Hostname); err == nil && !slices.Contains(e.own, n) {
		e.hostname = n
	}
	for _, a := range r.Addresses {
		e.addAddress(a)
	}
	return e
}

func (e *endpoint) addAddress(a ledger.Address) {
	if !a.Prefix.IsValid() {
		return
	}
	if addr := a.Prefix.Addr().Unmap(); !slices.Contains(e.addrs, addr) {
		e.addrs = append(e.addrs, addr)
	}
	if p := a.Prefix.Masked(); !slices.Contains(e.subnets, p) {
		e.subnets = append(e.subnets, p)
	}
	if g := a.Gateway.Unmap(); g.IsValid() && !slices.Contains(e.gateways, g) {
		e.gateways = append(e.gateways, g)
	}
}

// listeners are the sockets that this endpoint's questions arrive at. A
// link-local gateway is left out: a client that asks it sends from its own
// link-local address, which no record holds, so it could not be recognised.
func (e *endpoint) listeners() []Listener {
	var ls []Listener
	if e.inside != 0 {
		return append(ls, Inside(e.key.Container))
	}
	for _, g := range e.gateways {
		if !g.IsLinkLocalUnicast() {
			ls = append(ls, Listener{Device: e.device, Gateway: g})
		}
	}
	return ls
}

// container says whose endpoint it is. Other hosts tell what containers they have,
// and one of them may name the ID of one of ours, which is no secret.
func (e *endpoint) container() string {
	if e.remote {
		return e.key.Container + e.key.Part
	}
	return e.key.Container
}

// places are where listeners of the endpoint are, other than at port 53.
func (e *endpoint) places() []placed {
	var list []placed
	for _, l := range e.listeners() {
		if l.Container != "" {
			list = append(list, placed{l, Place{Port: e.inside, Netns: e.netns}})
		}
		for _, r := range e.redirects {
			if r.Addr() == l.Gateway {
				list = append(list, placed{l, Place{Port: r.Port()}})
			}
		}
	}
	return list
}

// byAge orders endpoints of a container or of a name: those of this host ahead
// of others', the oldest attachment first. The key decides between two of the same instant, so that the order is
// the same after a restart.
func byAge(a, b *endpoint) int {
	if a.remote != b.remote {
		if a.remote {
			return 1
		}
		return -1
	}
	return cmp.Or(a.created.Compare(b.created),
		cmp.Compare(a.key.Container, b.key.Container),
		cmp.Compare(a.key.IfName, b.key.IfName),
		cmp.Compare(a.key.Network, b.key.Network))
}
