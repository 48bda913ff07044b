package plan

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// addFastPath lets the plain containers of networks that want it take the fast
// path to the pools behind the tunnel. It takes all packets of two addresses or
// none, in both directions: connection tracking must not see half of a
// connection. So there is none beside direct routes, by which packets come
// without the tunnel.
func (in Input) addFastPath(p *Plan) {
	if in.Direct != "" {
		return
	}
	hops := map[netip.Addr]*wire.Peer{}
	for i := range p.Mesh.Peers {
		hops[p.Mesh.Peers[i].VTEP] = &p.Mesh.Peers[i]
	}
	for _, n := range in.View.Networks {
		if !fast(n) {
			continue
		}
		f := wire.FastNetwork{Bridge: BridgeOf(n), Group: n.Group}
		for _, a := range in.Plain[n.Name] {
			if in.ownsAddress(n.Name, a) {
				f.Containers = append(f.Containers, a)
			}
		}
		slices.SortFunc(f.Containers, netip.Addr.Compare)
		p.Fence.Fast.Networks = append(p.Fence.Fast.Networks, f)
		addFastPeers(p, n, hops)
	}
}

// addFastPeers are the network's pools on other hosts, as far as the tunnel's
// MTU is theirs, too: where a route says another one, the kernel must have its
// say about packets that are too large.
func addFastPeers(p *Plan, n store.Network, hops map[netip.Addr]*wire.Peer) {
	for _, r := range p.Mesh.Routes {
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
		p.Fence.Fast.Peers = append(p.Fence.Fast.Peers, wire.FastPeer{Pool: r.To, Via: via})
	}
}

// fast tells whether a network wants the fast path and can have it: not where
// further plugins may translate its containers' addresses.
func fast(n store.Network) bool {
	var list struct {
		Plugins []json.RawMessage `json:"plugins"`
	}
	return n.FastPath && (len(n.Definition) == 0 || json.Unmarshal(n.Definition, &list) == nil && len(list.Plugins) <= 1)
}

// FastNetworks name those whose containers may take the fast path.
func FastNetworks(v store.View) []string {
	var names []string
	for _, n := range v.Networks {
		if fast(n) {
			names = append(names, n.Name)
		}
	}
	return names
}

// ownsAddress tells whether an address is of a pool that is still this host's.
func (in Input) ownsAddress(network string, a netip.Addr) bool {
	return slices.ContainsFunc(in.Owned, func(c store.Claim) bool { return c.Network == network && c.Pool.Contains(a) })
}
