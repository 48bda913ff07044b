package kernel

import (
	"net"
	"net/netip"

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
	routes, err := h.link.RouteGet(net.IP(to.AsSlice()))
	if err != nil || len(routes) == 0 || routes[0].LinkIndex == 0 {
		return 0
	}
	link, err := h.link.LinkByIndex(routes[0].LinkIndex)
	if err != nil || link.Attrs().RawFlags&unix.IFF_LOOPBACK != 0 {
		return 0
	}
	return link.Attrs().MTU
}
