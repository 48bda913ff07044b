package plan

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// addFastPath lets the plain containers of networks that may take the fast path
// take it to the pools behind the tunnel. It takes all packets of two addresses or
// none, in both directions: connection tracking must not see half of a connection.
// What the other host does with them is its own business: it, too, sees all or none.
//
// A network that no container has used here has none, so that nobody who joins
// waits for it; and what the mesh needs for it stays while an onlooker is there.
func (in Input) addFastPath(p *Plan) {
	hops := map[netip.Addr]*wire.Peer{}
	for i := range p.Mesh.Peers {
		hops[p.Mesh.Peers[i].VTEP] = &p.Mesh.Peers[i]
	}
	p.UsualWay = map[string]string{}
	for _, n := range in.View.Networks {
		why := in.usualWay(n)
		if why != "" {
			p.UsualWay[n.Name] = why
		}
		var to *wire.FastPath
		switch why {
		case "":
			to = &p.Fence.Fast
		case in.Onlooker:
			to = &p.Withdrawn
		}
		if to != nil && in.Used[n.Name] {
			in.addFastNetwork(to, n)
			addFastPeers(to, p.Mesh.Routes, n, hops)
		}
	}
}

// usualWay says why a network does not take the fast path on this host.
func (in Input) usualWay(n store.Network) string {
	switch {
	case n.FastPath == store.FastOff:
		return "fast_path is false"
	case !translatesNothing(n):
		return "its list has further plugins, which may translate addresses"
	case in.Direct != "":
		return "direct routes are on, by which packets come without tunnel"
	case in.NoFastPath != "":
		return in.NoFastPath
	case n.FastPath == store.FastAuto:
		return in.Onlooker
	}
	return ""
}

// addFastNetwork adds the network's containers.
func (in Input) addFastNetwork(to *wire.FastPath, n store.Network) {
	f := wire.FastNetwork{Bridge: BridgeOf(n), Group: n.Group}
	for _, a := range in.Plain[n.Name] {
		if in.ownsAddress(n.Name, a) {
			f.Containers = append(f.Containers, a)
		}
	}
	slices.SortFunc(f.Containers, netip.Addr.Compare)
	to.Networks = append(to.Networks, f)
}

// addFastPeers are the network's pools on other hosts, as far as the tunnel's
// MTU is theirs, too: where a route says another one, the kernel must have its
// say about packets that are too large.
func addFastPeers(to *wire.FastPath, routes []wire.MeshRoute, n store.Network, hops map[netip.Addr]*wire.Peer) {
	for _, r := range routes {
		if !r.Via.IsValid() || r.MTU != 0 || !inside(n, r.To) {
			continue
		}
		via := wire.TunnelMAC(r.Via).LinkLocal()
		if r.To.Addr().Is4() {
			if via = r.Via; !via.Is4() {
				continue // a neighbour of IPv4 would need an address of its own
			}
			hops[r.Via].NextHop = true
		}
		to.Peers = append(to.Peers, wire.FastPeer{Pool: r.To, Via: via})
	}
}

// translatesNothing is false where further plugins may translate its containers'
// addresses.
func translatesNothing(n store.Network) bool {
	var list struct {
		Plugins []json.RawMessage `json:"plugins"`
	}
	return len(n.Definition) == 0 || json.Unmarshal(n.Definition, &list) == nil && len(list.Plugins) <= 1
}

// FastNetworks are those whose containers may take the fast path, on some host at
// some time.
func FastNetworks(v store.View) []store.Network {
	return slices.DeleteFunc(slices.Clone(v.Networks), func(n store.Network) bool {
		return n.FastPath == store.FastOff || !translatesNothing(n)
	})
}

// ownsAddress tells whether an address is of a pool that is still this host's.
func (in Input) ownsAddress(network string, a netip.Addr) bool {
	return slices.ContainsFunc(in.Owned, func(c store.Claim) bool { return c.Network == network && c.Pool.Contains(a) })
}
