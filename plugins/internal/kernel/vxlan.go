package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// EnsureVxlan makes the tunnel's device, or makes the one that is there as it
// should be, and tells how many requests that took: 0 if nothing was different.
// What can't be changed on a living device has it made anew: VNI, port, learning,
// GBP, and the place. The kernel would take another local address, and from then
// on (6.14 and later) count every packet with a group as an error: it forgets
// that these bits of the header are in use.
func (h *Host) EnsureVxlan(want wire.Vxlan) (writes int, err error) {
	underlay, err := h.linkWith(want.Local)
	if err != nil {
		return 0, fmt.Errorf("tunnel %s: %w", want.Name, err)
	}
	have, err := h.findVxlan(want.Name)
	missing := absent(err)
	if err == nil && !sameKind(have, want, underlay.Attrs().Index) {
		if err := h.link.LinkDel(have); err != nil && !absent(err) {
			return 0, fmt.Errorf("delete tunnel %s, which is of another kind or place: %w", want.Name, err)
		}
		missing, writes = true, 1
	}
	if missing {
		if err := h.makeVxlan(want, underlay); err != nil {
			return writes, err
		}
		writes++
		have, err = h.findVxlan(want.Name)
	}
	if err != nil {
		return writes, err
	}
	n, err := h.adjustVxlan(have, want)
	return writes + n, err
}

// linkWith finds the link that has an address.
func (h *Host) linkWith(addr netip.Addr) (netlink.Link, error) {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	all, err := h.link.AddrList(nil, family)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range all {
		if have, _ := netip.AddrFromSlice(a.IP); have.Unmap() == addr {
			return h.link.LinkByIndex(a.LinkIndex)
		}
	}
	return nil, fmt.Errorf("no link of this host has the tunnel address %s", addr)
}

func (h *Host) findVxlan(name string) (*netlink.Vxlan, error) {
	link, err := h.link.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for tunnel %s: %w", name, err)
	}
	vxlan, ok := link.(*netlink.Vxlan)
	if !ok {
		return nil, fmt.Errorf("interface %s exists and is a %s, not a vxlan", name, link.Type())
	}
	return vxlan, nil
}

// TunnelLinks are the numbers of the tunnel's device and of its underlay's.
func (h *Host) TunnelLinks(name string) (tunnel, underlay uint32, err error) {
	link, err := h.findVxlan(name)
	if err != nil {
		return 0, 0, err
	}
	return uint32(link.Index), uint32(link.VtepDevIndex), nil
}

// LinkNumber is the number of a link, 0 if there is none of that name.
func (h *Host) LinkNumber(name string) (uint32, error) {
	link, err := h.link.LinkByName(name)
	if absent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for %s: %w", name, err)
	}
	return uint32(link.Attrs().Index), nil
}

func sameKind(have *netlink.Vxlan, want wire.Vxlan, underlay int) bool {
	local, _ := netip.AddrFromSlice(have.SrcAddr)
	return have.VxlanId == int(want.VNI) && have.Port == int(want.Port) && have.GBP && !have.Learning && !have.FlowBased &&
		local.Unmap() == want.Local && have.VtepDevIndex == underlay
}

// makeVxlan sends the request itself: the library can't switch the outer UDP
// checksum off, which costs more than it protects over IPv4 (the inner packet
// has its own), and is on by default since Linux 4.6.
func (h *Host) makeVxlan(want wire.Vxlan, underlay netlink.Link) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, want.MAC.Net()))
	if want.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(want.MTU))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("vxlan"))
	addVxlanData(info, want, underlay.Attrs().Index)
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make tunnel %s (VNI %d, UDP port %d, over %s): %w", want.Name, want.VNI, want.Port, underlay.Attrs().Name, err)
	}
	return ignoreAdvertisements(want.Name)
}

func addVxlanData(info *nl.RtAttr, want wire.Vxlan, underlay int) {
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_VXLAN_ID, nl.Uint32Attr(want.VNI))
	data.AddRtAttr(nl.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, want.Port))
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, []byte{0})
	data.AddRtAttr(nl.IFLA_VXLAN_AGEING, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_VXLAN_GBP, []byte{})
	if want.Local.Is4() {
		data.AddRtAttr(nl.IFLA_VXLAN_UDP_CSUM, []byte{0})
	}
	place := nl.IFLA_VXLAN_LOCAL
	if want.Local.Is6() {
		place = nl.IFLA_VXLAN_LOCAL6
	}
	data.AddRtAttr(place, want.Local.AsSlice())
	data.AddRtAttr(nl.IFLA_VXLAN_LINK, nl.Uint32Attr(uint32(underlay)))
}

// adjustVxlan makes what can change on a living device as it should be.
func (h *Host) adjustVxlan(have *netlink.Vxlan, want wire.Vxlan) (writes int, err error) {
	change := func(differs bool, what string, fn func() error) {
		if !differs || err != nil {
			return
		}
		if failed := fn(); failed != nil {
			err = fmt.Errorf("set %s of tunnel %s: %w", what, want.Name, failed)
			return
		}
		writes++
	}
	change(have.HardwareAddr.String() != want.MAC.String(), "hardware address", func() error {
		return h.link.LinkSetHardwareAddr(have, want.MAC.Net())
	})
	change(want.MTU != 0 && have.MTU != want.MTU, fmt.Sprintf("MTU %d", want.MTU), func() error {
		return h.link.LinkSetMTU(have, want.MTU)
	})
	change(have.RawFlags&unix.IFF_UP == 0, "state up", func() error { return h.link.LinkSetUp(have) })
	if err != nil {
		return writes, err
	}
	n, err := h.ensureOwnAddresses(have, want.Addresses)
	return writes + n, err
}

// ensureOwnAddresses gives the device these host addresses and no others; its
// link-local one is the kernel's.
func (h *Host) ensureOwnAddresses(link netlink.Link, want []netip.Addr) (writes int, err error) {
	have, err := h.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return 0, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	wanted := map[netip.Prefix]bool{}
	for _, a := range want {
		wanted[netip.PrefixFrom(a, a.BitLen())] = true
	}
	for _, addr := range have {
		prefix := prefixOf(addr.IPNet)
		if prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		if wanted[prefix] {
			delete(wanted, prefix)
			continue
		}
		if err := h.link.AddrDel(link, &addr); err != nil && !absent(err) {
			return writes, fmt.Errorf("remove address %s from %s: %w", prefix, link.Attrs().Name, err)
		}
		writes++
	}
	for prefix := range wanted {
		if err := h.addGateway(link, prefix); err != nil {
			return writes, err
		}
		writes++
	}
	return writes, nil
}

// RemoveVxlan deletes the tunnel, and with it its neighbours, FDB entries and
// the routes through it. A tunnel that is not there is no error.
func (h *Host) RemoveVxlan(name string) error {
	link, err := h.findVxlan(name)
	if absent(err) {
		return nil
	}
	if err == nil {
		err = h.link.LinkDel(link)
	}
	return deleted(name, err)
}
