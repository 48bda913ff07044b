// Package plan decides what an overlay needs on this host: from what the store
// says, what this host owns, and what fits through its links, it computes the
// tunnel, the routes to everybody, the fence, and what the plugin is handed
// over. It is pure: the same input always gives the same plan.
package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// minMTU6 is the least that IPv6 works with (RFC 8200, section 5).
const minMTU6 = 1280

// Input is everything that a plan depends on.
type Input struct {
	View store.View
	// Self is this host's node ID, Local its tunnel address.
	Self  store.NodeID
	Local netip.Addr
	// Owned are the pools that are this host's, Lost those that were and that
	// containers may still have addresses of.
	Owned, Lost []store.Claim
	// DeviceMTU is that of the link with Local; To tells what fits on the way
	// to an address.
	DeviceMTU int
	To        func(netip.Addr) int
	// Probed are the overlay MTUs that probes have found to be the most for a
	// peer, by tunnel address.
	Probed map[netip.Addr]int
	// Direct is the underlay's link if peers on it are reached without tunnel,
	// OnLink tells which are; "" and nil send everything through the tunnel.
	Direct string
	OnLink func(netip.Addr) bool
	// Plain are this host's containers whose addresses nobody translates, by
	// network; Used are the networks that have had a container here.
	Plain map[string][]netip.Addr
	Used  map[string]bool
	// Onlooker says who else has rules on this host that would see packets on their
	// usual way, NoFastPath why its kernel has no other; "" if so.
	Onlooker, NoFastPath string
	// Exhausted says, by network, why it gets no further pool here.
	Exhausted func(network string) string
	// Degraded is told to the plugin.
	Degraded string
}

// A Plan is what the host should have.
type Plan struct {
	Tunnel wire.Vxlan
	Mesh   wire.Mesh
	Fence  wire.Fence
	// Networks are those that this host has or had a pool of, and those of which
	// it can have none, with the reason.
	Networks []handover.Network
	// MTU is what fits into the overlay from here.
	MTU int
	// Withdrawn is what the fast path would have beside if there were no onlooker.
	Withdrawn wire.FastPath
	// UsualWay says why a network does not take the fast path on this host, by name.
	UsualWay map[string]string
	// Conflicts are records that contradict each other or this host; what they
	// claim is left out.
	Conflicts []string
}

// Make computes the plan.
func Make(in Input) Plan {
	var p Plan
	in.View.Networks, p.Conflicts = in.consistent()
	p.MTU = in.mtu()
	p.Tunnel = wire.Vxlan{
		Name: handover.Device, VNI: cmp.Or(in.View.Cluster.VNI, store.DefaultVNI), Port: cmp.Or(in.View.Cluster.Port, store.DefaultPort),
		Local: in.Local, MTU: p.MTU, MAC: wire.TunnelMAC(in.Local), Addresses: in.hostAddresses(),
	}
	p.Mesh = wire.Mesh{Device: handover.Device}
	p.Fence = wire.Fence{Device: handover.Device, Port: p.Tunnel.Port, Local: in.Local, Members: []netip.Addr{in.Local}, Direct: in.Direct}
	for _, n := range in.View.Networks {
		in.addNetwork(&p, n)
	}
	taken, members := newPrefixSet(), map[netip.Addr]bool{in.Local: true}
	for _, c := range in.Owned {
		taken.add(c.Pool)
	}
	for _, node := range in.View.Nodes {
		if node.ID != in.Self {
			in.addPeer(&p, node, taken, members)
		}
	}
	for _, c := range in.Owned {
		if n, ok := in.View.Network(c.Network); ok {
			p.Fence.Own = append(p.Fence.Own, wire.Grouped{Pool: c.Pool, Group: n.Group})
		}
	}
	in.addFastPath(&p)
	return p
}

// Usable tells whether containers can be started in one of the networks.
func (p Plan) Usable() bool {
	return slices.ContainsFunc(p.Networks, func(n handover.Network) bool { return len(n.Pools) > 0 })
}

// Peers are the other nodes that can be spoken to from a tunnel address.
func Peers(v store.View, self store.NodeID, local netip.Addr) []store.Node {
	return slices.DeleteFunc(slices.Clone(v.Nodes), func(n store.Node) bool {
		return n.ID == self || !VTEP(n, local).IsValid()
	})
}

// VTEP is the node's tunnel address of this host's family.
func VTEP(n store.Node, local netip.Addr) netip.Addr {
	for _, a := range n.VTEP {
		if a.Is4() == local.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// mtu is what fits on the way to the peers: the most that one of them can be
// sent, and the link's where there is none.
func (in Input) mtu() int {
	overhead := wire.Overhead(in.Local)
	peers := Peers(in.View, in.Self, in.Local)
	if len(peers) == 0 {
		return in.floor(in.DeviceMTU - overhead)
	}
	most := 0
	for _, n := range peers {
		most = max(most, in.To(VTEP(n, in.Local))-overhead)
	}
	return in.floor(min(most, in.DeviceMTU-overhead))
}

func (in Input) floor(mtu int) int {
	for _, n := range in.View.Networks {
		for _, r := range n.Ranges {
			if r.Addr().Is6() {
				return max(mtu, minMTU6)
			}
		}
	}
	return mtu
}

// addNetwork refuses what nobody has, and hands the host's share over.
func (in Input) addNetwork(p *Plan, n store.Network) {
	share := handover.Network{Network: n.Name, Group: n.Group, MTU: p.MTU, Exhausted: in.exhausted(n.Name), Degraded: in.Degraded, Inside: n.Ranges, Ranges: in.ranges()}
	for _, c := range in.Owned {
		if c.Network == n.Name {
			share.Pools = append(share.Pools, handover.Pool{Prefix: c.Pool})
		}
	}
	for _, c := range in.Lost {
		if c.Network == n.Name {
			share.Pools = append(share.Pools, handover.Pool{Prefix: c.Pool, Lost: true})
		}
	}
	for _, r := range n.Ranges {
		p.Mesh.Routes = append(p.Mesh.Routes, wire.MeshRoute{To: r})
		p.Fence.Ranges = append(p.Fence.Ranges, r)
	}
	fenced := wire.FencedNetwork{Bridge: BridgeOf(n), Group: n.Group, Admits: in.admits(n)}
	for _, pool := range share.Pools {
		if !pool.Lost {
			fenced.Host = append(fenced.Host, pool.Prefix.Addr())
		}
	}
	p.Fence.Networks = append(p.Fence.Networks, fenced)
	if (len(share.Pools) > 0 || share.Exhausted != "") && !n.Leaving {
		p.Networks = append(p.Networks, share)
	}
}

func (in Input) exhausted(network string) string {
	if in.Exhausted == nil {
		return ""
	}
	return in.Exhausted(network)
}

func (in Input) ranges() []netip.Prefix {
	var all []netip.Prefix
	for _, n := range in.View.Networks {
		all = append(all, n.Ranges...)
	}
	return all
}

// admits are the groups that may enter a network: its own, and for an open one
// everybody's. A packet of a closed network may answer what an open one let in,
// so both sides must be open for a connection.
func (in Input) admits(n store.Network) []uint16 {
	groups := []uint16{n.Group}
	for _, other := range in.View.Networks {
		if other.Name != n.Name && n.Open && other.Open {
			groups = append(groups, other.Group)
		}
	}
	return groups
}

// hostAddresses are the bases of the host's pools: from them it speaks to the
// containers of others.
func (in Input) hostAddresses() []netip.Addr {
	var all []netip.Addr
	for _, c := range in.Owned {
		if _, ok := in.View.Network(c.Network); ok {
			all = append(all, c.Pool.Addr())
		}
	}
	return all
}

func (in Input) source(network string, is4 bool) netip.Addr {
	for _, c := range in.Owned {
		if c.Network == network && c.Pool.Addr().Is4() == is4 {
			return c.Pool.Addr()
		}
	}
	return netip.Addr{}
}

// addPeer leads to a peer's pools. A pool that somebody has already is left
// out: of two records that claim one, the first counts, and this host's own
// claims count most.
func (in Input) addPeer(p *Plan, node store.Node, taken *prefixSet, members map[netip.Addr]bool) {
	vtep := VTEP(node, in.Local)
	if !vtep.IsValid() {
		p.Conflicts = append(p.Conflicts, fmt.Sprintf("node %s has no tunnel address of the family of %s", node.Name, in.Local))
		return
	}
	if members[vtep] {
		p.Conflicts = append(p.Conflicts, fmt.Sprintf("node %s has the tunnel address %s of another", node.Name, vtep))
		return
	}
	members[vtep] = true
	p.Fence.Members = append(p.Fence.Members, vtep)
	p.Mesh.Peers = append(p.Mesh.Peers, wire.Peer{VTEP: vtep})
	direct := in.Direct != "" && in.OnLink(vtep)
	mtu := in.peerMTU(p.MTU, node, vtep, direct)
	for _, n := range in.View.Networks {
		for _, pool := range node.Pools[n.Name] {
			if !inside(n, pool) || taken.overlaps(pool) {
				p.Conflicts = append(p.Conflicts, fmt.Sprintf("node %s claims %s of network %s, which is another's or outside of it", node.Name, pool, n.Name))
				continue
			}
			taken.add(pool)
			p.Mesh.Routes = append(p.Mesh.Routes, wire.MeshRoute{To: pool, Via: vtep, Direct: direct, MTU: mtu,
				Source: in.source(n.Name, pool.Addr().Is4())})
			p.Fence.Peers = append(p.Fence.Peers, wire.Grouped{Pool: pool, Group: n.Group})
		}
	}
}

// peerMTU is what a route must say: 0 where the tunnel's own is right.
func (in Input) peerMTU(own int, node store.Node, vtep netip.Addr, direct bool) int {
	most := in.To(vtep)
	if !direct {
		most -= wire.Overhead(in.Local)
	}
	if node.MTU != 0 {
		most = min(most, node.MTU)
	}
	if probed := in.Probed[vtep]; probed != 0 {
		most = min(most, probed)
	}
	if most = in.floor(most); most >= own {
		return 0
	}
	return most
}

func inside(n store.Network, pool netip.Prefix) bool {
	return slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Contains(pool.Addr()) && r.Bits() <= pool.Bits() })
}

// BridgeOf names a network's bridge on every host: what its definition says.
func BridgeOf(n store.Network) string {
	var list struct {
		Plugins []struct {
			Bridge string `json:"bridge"`
		} `json:"plugins"`
	}
	if json.Unmarshal(n.Definition, &list) == nil && len(list.Plugins) > 0 && list.Plugins[0].Bridge != "" {
		return list.Plugins[0].Bridge
	}
	return wire.Attachment{Network: n.Name}.HostName("nb-")
}
