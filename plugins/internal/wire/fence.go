package wire

import "net/netip"

// A Fence is what the packet filter of a host keeps in and out of an overlay:
// tunnel packets from strangers, inner packets with a source that nobody there
// can have, and traffic between networks that are kept apart.
type Fence struct {
	Device string // the tunnel
	// Tunnel and Underlay are the numbers that the kernel has given the device
	// and the link that its packets come by: they are compared faster than names.
	Tunnel, Underlay uint32
	Port             uint16 // UDP, of the tunnel; the next one is the probes'
	// Local is this host's tunnel address.
	Local netip.Addr
	// Members are the tunnel addresses of this cluster, this host's own too:
	// who else sends to Port is not heard.
	Members []netip.Addr
	// Ranges of all networks: nothing from there comes by another link than
	// the tunnel and the networks' bridges.
	Ranges []netip.Prefix
	// Own pools, as far as they are still this host's, and those of the peers,
	// with their networks' groups: what leaves comes from the former, what
	// arrives from the latter.
	Own, Peers []Grouped
	// Direct lets the peers' pools arrive by this link too, without tunnel; ""
	// does not.
	Direct string
	// Networks of this host.
	Networks []FencedNetwork
	// Fast is the way past the rules.
	Fast FastPath
}

// A FastPath leads packets between containers on different hosts straight from
// a network's bridge into the tunnel and from the tunnel to the bridge. They are
// not tracked and not shown to rules about what is forwarded, so only those take
// it whose addresses nobody translates.
type FastPath struct {
	Networks []FastNetwork
	Peers    []FastPeer
}

// A FastNetwork is one whose containers may take the fast path.
type FastNetwork struct {
	Bridge string
	// Number is the bridge's, 0 while there is none.
	Number uint32
	Group  uint16
	// Containers are the addresses that may.
	Containers []netip.Addr
}

// A FastPeer is a pool behind the tunnel for which the tunnel's MTU is right.
type FastPeer struct {
	Pool netip.Prefix
	// Via is the next hop on the tunnel, of the pool's family.
	Via netip.Addr
}

// Grouped is a pool of a network with the group ID.
type Grouped struct {
	Pool  netip.Prefix
	Group uint16
}

// A FencedNetwork is a network's place on this host.
type FencedNetwork struct {
	Bridge string
	Group  uint16
	// Admits are the groups whose traffic may enter, its own among them.
	Admits []uint16
	// Host are this host's own addresses in the network.
	Host []netip.Addr
}
