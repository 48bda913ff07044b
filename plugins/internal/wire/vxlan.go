package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Vxlan is the device through which this host reaches the pools of others: one
// for all overlay networks. It does not learn: who is where is told to it (see
// Mesh), and every packet carries its network's group (VXLAN-GBP,
// draft-smith-vxlan-group-policy).
type Vxlan struct {
	Name string
	VNI  uint32
	Port uint16 // UDP, of all members
	// Local is the tunnel's own address; it and the link that has it carry the
	// packets, so that the kernel refuses an MTU that would not fit.
	Local netip.Addr
	MTU   int // bytes; 0 is the underlay's less the overhead
	// MAC is given at creation, derived from Local (see TunnelMAC): nobody has
	// to be told, and it is the same after a reboot.
	MAC HardwareAddr
	// Addresses are the host's own on the overlay, one for each pool.
	Addresses []netip.Addr
}

// TunnelMAC derives the hardware address of a tunnel's end from its address:
// 02:56 and the four bytes of an IPv4 address, or four of a hash.
func TunnelMAC(local netip.Addr) HardwareAddr {
	mac := HardwareAddr{0x02, 0x56}
	if local.Is4() {
		b := local.As4()
		copy(mac[2:], b[:])
		return mac
	}
	sum := sha256.Sum256(local.AsSlice())
	copy(mac[2:], sum[:4])
	return mac
}

// LinkLocal is the IPv6 link-local address of a hardware address (RFC 4291,
// appendix A). A peer's is the next hop to all its pools, of both families.
func (h HardwareAddr) LinkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: h[0] ^ 0x02, 9: h[1], 10: h[2], 11: 0xff, 12: 0xfe, 13: h[3], 14: h[4], 15: h[5]})
}

// Overhead is what the tunnel adds to each packet, in bytes: the inner Ethernet
// header (14), VXLAN (8), UDP (8) and the outer IP header (20 or 40).
func Overhead(local netip.Addr) int {
	if local.Is4() {
		return 50
	}
	return 70
}

// OverlayProtocol marks the routes that belong to an overlay ("protocol" of
// ip-route(8)): nobody else uses the number, and the kernel's dumps show it.
const OverlayProtocol = 86

// A Mesh is all that the kernel must know to reach the other hosts of an
// overlay: for each a FDB entry and a neighbour, for each of their pools a
// route, and for each network's range a route that refuses what nobody has.
type Mesh struct {
	Device string // of the tunnel
	Peers  []Peer
	Routes []MeshRoute
}

// A Peer is another host's end of the tunnel.
type Peer struct {
	VTEP netip.Addr
	// NextHop makes the tunnel address, one of IPv4, a neighbour on the tunnel,
	// too: the fast path has no other next hops for IPv4 (see FastPath).
	NextHop bool
}

// Neighbours are the peer's addresses on the tunnel, its link-local one first.
func (p Peer) Neighbours() []netip.Addr {
	all := []netip.Addr{p.MAC().LinkLocal()}
	if p.NextHop && p.VTEP.Is4() {
		all = append(all, p.VTEP)
	}
	return all
}

// MAC of the peer's end.
func (p Peer) MAC() HardwareAddr { return TunnelMAC(p.VTEP) }

// A MeshRoute leads to a pool, or refuses a range.
type MeshRoute struct {
	To netip.Prefix
	// Via is the peer's tunnel address. With Direct it is the gateway, on the
	// underlay; otherwise the packet goes through the tunnel. The zero Addr
	// makes an unreachable route, with the largest metric.
	Via    netip.Addr
	Direct bool
	MTU    int        // bytes, 0: the device's
	Source netip.Addr // that the host itself sends from; the zero Addr leaves it to the kernel
}

// Metrics of our routes. The largest is for a route that refuses, so that it
// yields to any other of its prefix.
const (
	// metric6 is one below that of the route that the kernel makes for an address
	// (256): while a bridge still has an address of a pool that is another host's
	// now, packets to that pool go to the other host.
	metric6 = 128
	// metrics4 is how many IPv4 routes to peers have. The kernel keeps what routes
	// say (fib_info) in a hash table, so that equal ones are there once, and leaves
	// the gateway out of the hash: a thousand through one device are one chain,
	// which each new one is compared with from end to end. The metric is in the
	// hash. (`ip -batch` of 1,000 such routes: 25 ms with one metric, 10.5 with 64
	// and with 1,000; with next-hop objects, whose number is in the hash, 16.)
	metrics4 = 1024
	refuse   = 1<<32 - 1
)

// Metric of the route, from what it leads to: it stays when the pool becomes
// another host's.
func (r MeshRoute) Metric() int {
	switch {
	case !r.Via.IsValid():
		return refuse
	case r.To.Addr().Is6():
		return metric6
	}
	a := r.To.Addr().As4()
	return 1 + int(binary.BigEndian.Uint32(a[:])>>(32-r.To.Bits()))%metrics4
}

// Lines renders the tunnel as commands.
func (v Vxlan) Lines() []string {
	lines := []string{fmt.Sprintf("ip link add %s address %s%s type vxlan id %d dstport %d local %s nolearning gbp noudpcsum",
		v.Name, v.MAC, mtu(v.MTU), v.VNI, v.Port, v.Local)}
	for _, a := range v.Addresses {
		lines = append(lines, fmt.Sprintf("ip addr add %s/%d dev %s", a, a.BitLen(), v.Name))
	}
	return append(lines, "ip link set "+v.Name+" up")
}

// Lines renders the mesh as commands.
func (m Mesh) Lines() []string {
	var lines []string
	for _, p := range m.Peers {
		lines = append(lines, fmt.Sprintf("bridge fdb replace %s dev %s dst %s self permanent", p.MAC(), m.Device, p.VTEP))
		for _, a := range p.Neighbours() {
			lines = append(lines, fmt.Sprintf("ip neigh replace %s lladdr %s dev %s nud permanent", a, p.MAC(), m.Device))
		}
	}
	for _, r := range m.Routes {
		lines = append(lines, r.line(m.Device))
	}
	return lines
}

func (r MeshRoute) line(device string) string {
	line := fmt.Sprintf("ip route replace %s via inet6 %s dev %s onlink", r.To, TunnelMAC(r.Via).LinkLocal(), device)
	switch {
	case !r.Via.IsValid():
		return fmt.Sprintf("ip route replace unreachable %s metric %d proto %d", r.To, r.Metric(), OverlayProtocol)
	case r.Direct:
		line = fmt.Sprintf("ip route replace %s via %s", r.To, r.Via)
	}
	line += fmt.Sprintf(" metric %d proto %d", r.Metric(), OverlayProtocol)
	if r.Source.IsValid() {
		line += " src " + r.Source.String()
	}
	return line + mtu(r.MTU)
}
