// Package kernel makes the links, addresses, routes and sysctls of a Wiring
// true, compares them with what is there, and takes them away. It is the only
// netlink in the tree, apart from the packet filter's.
//
// A netlink handle is opened once in the host's namespace and once in the
// container's, both by descriptor, and the work is done through these two; no
// thread wanders between namespaces. Deleting needs the host's handle alone:
// host-side names are computed from the attachment, so a container whose
// namespace is gone can still be cleaned up.
package kernel

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ipNet is the one place where our prefixes become the library's.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}

// prefixOf is the way back.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}

func ip(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

// absent tells that an object is not there.
func absent(err error) bool {
	return errors.As(err, new(netlink.LinkNotFoundError)) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) ||
		errors.Is(err, unix.EADDRNOTAVAIL)
}
