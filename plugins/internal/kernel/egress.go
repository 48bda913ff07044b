package kernel

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// outside are addresses that stand for "the rest of the world": they belong to
// documentation (RFC 5737, RFC 3849), so that only a default route leads there.
var outside = [...]netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 1}), netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})}

// mtu resolves the MTU that a Wiring asks for: 0 is what the link inherits from
// the one it is attached to, and so is wire.EgressMTU on a host that reaches
// nobody.
func (h *Host) mtu(want, inherited int) int {
	switch want {
	case 0:
		return inherited
	case wire.EgressMTU:
		for _, addr := range outside {
			if mtu := h.egressMTU(addr); mtu != 0 {
				return mtu
			}
		}
		return inherited
	}
	return want
}

// egressMTU is the MTU of the link on which the host would send to an address,
// or 0. It asks for the one route instead of reading them all: there may be
// thousands, and policy rules that choose between tables.
func (h *Host) egressMTU(to netip.Addr) int {
	replies, err := h.rt.exchange(getRoute(to))
	if err != nil {
		return 0
	}
	index := replies[0].outgoing()
	if index == 0 {
		return 0
	}
	replies, err = h.rt.exchange(getLinkAt(index))
	if err != nil {
		return 0
	}
	link, err := replies[0].link()
	if err != nil || link.flags&unix.IFF_LOOPBACK != 0 {
		return 0
	}
	return link.MTU
}

// getRoute asks for the route to an address.
func getRoute(to netip.Addr) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	header := nl.RtMsg{}
	header.Family, header.Dst_len = unix.AF_INET, uint8(to.BitLen())
	if to.Is6() {
		header.Family = unix.AF_INET6
	}
	r.AddData(&header)
	r.AddData(nl.NewRtAttr(unix.RTA_DST, to.AsSlice()))
	return r
}

// outgoing is the index of the link that the route found leads to, or 0: of
// several next hops, the first one's.
func (r reply) outgoing() int {
	if r.err != nil || len(r.data) == 0 || len(r.data[0]) < unix.SizeofRtMsg {
		return 0
	}
	return number(attribute(r.data[0][unix.SizeofRtMsg:], unix.RTA_OIF))
}
