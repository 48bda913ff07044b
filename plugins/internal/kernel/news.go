package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// News tells that links, addresses, routes or neighbours of the namespace have
// changed: not what, since whoever wants to know looks. It ends with the
// context. News that come together, or are lost because there are too many,
// are one.
func News(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_NEIGH | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE |
		unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe to netlink: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	context.AfterFunc(ctx, func() { file.Close() })
	news := make(chan struct{}, 1)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			_, err := file.Read(buffer)
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}
	}()
	return news, nil
}

// LocalAddresses are those of this host that others may reach: not those of
// loopback links and of the overlay itself. That from which the host speaks to
// the world is the first.
func (h *Host) LocalAddresses(except string) ([]netip.Addr, error) {
	all, err := dump(func() ([]netlink.Addr, error) { return h.link.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var result []netip.Addr
	for _, a := range all {
		addr := addrOf(a.IP)
		if !addr.IsGlobalUnicast() || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DEPRECATED) != 0 {
			continue
		}
		if link, err := h.link.LinkByIndex(a.LinkIndex); err != nil || link.Attrs().Name == except {
			continue
		}
		result = append(result, addr)
	}
	if from := h.OutwardAddress(); from.IsValid() {
		return append([]netip.Addr{from}, result...), nil
	}
	return result, nil
}

// OutwardAddress is that from which the host speaks to the world; the zero
// address if no route leads there.
func (h *Host) OutwardAddress() netip.Addr {
	for _, to := range outside {
		routes, err := h.link.RouteGet(ip(to))
		if err != nil || len(routes) == 0 {
			continue
		}
		if from := addrOf(routes[0].Src); from.IsValid() {
			return from
		}
	}
	return netip.Addr{}
}

// UnderlayAddresses are the global addresses of the link that a tunnel is bound
// to.
func (h *Host) UnderlayAddresses(tunnel string) ([]netip.Addr, error) {
	_, underlay, err := h.TunnelLinks(tunnel)
	if err != nil {
		return nil, err
	}
	link, err := h.link.LinkByIndex(int(underlay))
	if err != nil {
		return nil, fmt.Errorf("look for the link of %s: %w", tunnel, err)
	}
	return h.AddressesOf(link.Attrs().Name)
}

// AddressesOf are the global addresses of a link.
func (h *Host) AddressesOf(name string) ([]netip.Addr, error) {
	link, err := h.link.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	all, err := h.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	var result []netip.Addr
	for _, a := range all {
		if addr := addrOf(a.IP); addr.IsGlobalUnicast() {
			result = append(result, addr)
		}
	}
	return result, nil
}

// LinkOf names the link that has an address.
func (h *Host) LinkOf(addr netip.Addr) (string, error) {
	link, err := h.linkWith(addr)
	if err != nil {
		return "", err
	}
	return link.Attrs().Name, nil
}

// OnLink tells whether an address is reached without a gateway, by the link
// that has local.
func (h *Host) OnLink(to, local netip.Addr) bool {
	link, err := h.linkWith(local)
	if err != nil {
		return false
	}
	routes, err := h.link.RouteGet(ip(to))
	return err == nil && len(routes) == 1 && routes[0].Gw == nil && routes[0].Via == nil && routes[0].LinkIndex == link.Attrs().Index
}

// LowerMTU gives a bridge, and the host's end of each pair on it, an MTU that is
// smaller than what they have.
func (h *Host) LowerMTU(bridge string, mtu int) error {
	link, err := h.findBridge(bridge)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	links, err := dump(h.link.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range append(links, link) {
		mine := l.Attrs().MasterIndex == link.Index || l.Attrs().Index == link.Index
		if mine && l.Attrs().MTU > mtu {
			if err := h.link.LinkSetMTU(l, mtu); err != nil && !absent(err) {
				errs = append(errs, fmt.Errorf("set MTU %d of %s: %w", mtu, l.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// LowerMTU gives the container's link a smaller MTU than it has.
func (c *Container) LowerMTU(name string, mtu int) error {
	link, handle, err := c.find(name)
	if err == nil && link.Attrs().MTU > mtu {
		err = handle.LinkSetMTU(link, mtu)
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("set MTU %d of %s in %s: %w", mtu, name, c.Path, err)
	}
	return nil
}

// PrepareOverlay has the host route between its bridges and the tunnel. The
// kernel's own look at sources (rp_filter) is switched off for the tunnel, where
// distributions switch it on: the fence looks at them, earlier, and looking for a
// route to every source takes one per cent of a request and its answer.
//
// IPv6 forwarding makes a host deaf to router advertisements, so it is switched
// on only where a network has IPv6 pools.
func (h *Host) PrepareOverlay(tunnel string, has6 bool) error {
	sysctls := []wire.Sysctl{{Path: "net/ipv4/ip_forward", Value: "1"}, {Path: "net/ipv4/conf/" + tunnel + "/rp_filter", Value: "0", Optional: true}}
	if has6 {
		sysctls = append(sysctls, wire.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	return h.SetSysctls(sysctls)
}
