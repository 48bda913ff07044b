package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// EnsureBridge makes the bridge if it is not there, gives it its gateway
// addresses and brings it up. Several processes may do this at the same time:
// each step adds what is absent and takes "exists" for success.
func (h *Host) EnsureBridge(want wire.Bridge) error {
	found, err := h.lookBridge(want.Name)
	if absent(err) {
		found, err = h.makeBridge(want)
	}
	if err != nil {
		return err
	}
	h.ensured = found
	link := found.bridge()
	if want.VLANs {
		if err := h.filterVLANs(link); err != nil {
			return err
		}
	}
	if err := h.ensureGateways(link, want.Gateways, conflicts(want)); err != nil {
		return err
	}
	if want.Promiscuous && link.Attrs().Promisc == 0 {
		if err := h.link.SetPromiscOn(link); err != nil {
			return fmt.Errorf("set bridge %s promiscuous: %w", want.Name, err)
		}
	}
	return h.ensureUp(link)
}

func (h *Host) ensureUp(link netlink.Link) error {
	if link.Attrs().RawFlags&unix.IFF_UP != 0 {
		return nil
	}
	if err := h.link.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s %s up: %w", link.Type(), link.Attrs().Name, err)
	}
	return nil
}

func (h *Host) findBridge(name string) (*netlink.Bridge, error) {
	found, err := h.lookBridge(name)
	return found.bridge(), err
}

func (h *Host) lookBridge(name string) (Interface, error) {
	found, err := h.rt.look(name)
	if err != nil {
		return Interface{}, fmt.Errorf("bridge: %w", err)
	}
	if i := found[0]; i.kind != "bridge" {
		return i, fmt.Errorf("interface %s exists and is a %s, not a bridge", name, i.device().Type())
	}
	return found[0], nil
}

// bridge is the link in the library's words.
func (i Interface) bridge() *netlink.Bridge {
	return &netlink.Bridge{LinkAttrs: *i.device().Attrs(), VlanFiltering: &i.vlanFiltering}
}

// ensuredBridge is the bridge for a new port: as EnsureBridge found it, or as
// it is now.
func (h *Host) ensuredBridge(name string) (Interface, error) {
	if h.ensured.Name == name {
		return h.ensured, nil
	}
	return h.lookBridge(name)
}

// makeBridge creates the device with an address of its own (see wire.Bridge)
// and deaf to router advertisements (CVE-2020-10749).
func (h *Host) makeBridge(want wire.Bridge) (Interface, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = want.Name
	attrs.MTU = h.mtu(want.MTU, 0)
	if want.MAC.IsValid() {
		attrs.HardwareAddr = want.MAC.Net()
	}
	// A transmit queue of its own would only delay; -1 keeps the kernel's default.
	attrs.TxQLen = -1
	err := h.link.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return Interface{}, fmt.Errorf("make bridge %s: %w", want.Name, err)
	}
	if err := ignoreAdvertisements(want.Name); err != nil {
		return Interface{}, err
	}
	return h.lookBridge(want.Name)
}

// ignoreAdvertisements keeps a link of the host from taking routes and
// addresses from router advertisements, which a container could send.
func ignoreAdvertisements(name string) error {
	s := wire.Sysctl{Path: "net/ipv6/conf/" + name + "/accept_ra", Value: "0"}
	err := writeSysctl(s.Path, s.Value) // it is new: no need to read first
	if unwritable(err) {
		err = setSysctl(s)
	}
	if noIPv6(err) {
		return nil
	}
	return err
}

// conflict says what becomes of an address that is not among the gateways.
type conflict int

const (
	conflictRefused conflict = iota
	conflictGoes
	conflictStays
)

func conflicts(b wire.Bridge) conflict {
	if b.MoreGateways {
		return conflictStays
	}
	return replacing(b.ReplaceGateways)
}

func replacing(replace bool) conflict {
	if replace {
		return conflictGoes
	}
	return conflictRefused
}

// ensureGateways adds the gateway addresses. An address of another subnet of
// the same family is somebody's who uses the bridge for another network: for
// IPv4 that is an error unless the configuration says to replace it; IPv6
// subnets may live side by side unless they overlap.
func (h *Host) ensureGateways(link netlink.Link, gateways []netip.Prefix, on conflict) error {
	if len(gateways) == 0 {
		return nil
	}
	have, err := h.rt.addresses(link.Attrs().Index)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, gateway := range gateways {
		if slices.Contains(have, gateway) {
			continue
		}
		if on != conflictStays {
			if err := h.clearFor(link, gateway, have, on == conflictGoes); err != nil {
				return err
			}
		}
		if err := h.addGateway(link, gateway); err != nil {
			return err
		}
	}
	return nil
}

// clearFor removes the addresses that conflict with a gateway, or refuses.
func (h *Host) clearFor(link netlink.Link, gateway netip.Prefix, have []netip.Prefix, replace bool) error {
	name := link.Attrs().Name
	for _, prefix := range have {
		if prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().Is4() != gateway.Addr().Is4() ||
			prefix.Addr().Is6() && !prefix.Overlaps(gateway) {
			continue
		}
		if !replace {
			return fmt.Errorf("%s %s has the address %s already, which is not the gateway %s: another network uses it, or its subnet was changed", link.Type(), name, prefix, gateway)
		}
		if err := h.link.AddrDel(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil && !absent(err) {
			return fmt.Errorf("remove address %s from %s: %w", prefix, name, err)
		}
	}
	return nil
}

func (h *Host) addGateway(link netlink.Link, gateway netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(gateway)}
	if gateway.Addr().Is6() {
		// The link is ours alone: nobody else can have the address, and
		// detection would keep it tentative for a second or two.
		addr.Flags = unix.IFA_F_NODAD
	}
	err := h.link.AddrAdd(link, addr)
	name := link.Attrs().Name
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case gateway.Addr().Is6() && errors.Is(err, unix.EACCES):
		return fmt.Errorf("add address %s to %s: IPv6 is switched off there (sysctl net.ipv6.conf.%s.disable_ipv6): %w", gateway, name, name, err)
	}
	return fmt.Errorf("add address %s to %s: %w", gateway, name, err)
}

// RemoveBridge deletes the device and its uplinks, unless it has other ports:
// another network's containers, or what an administrator has put there. Then it
// stays as it is. A bridge that is not there is no error.
func (h *Host) RemoveBridge(name string) error {
	link, err := h.findBridge(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	uplinks, err := h.uplinks(name)
	if err != nil {
		return err
	}
	if n, err := h.ports(name); err != nil || n > len(uplinks) {
		return err
	}
	if err := h.link.LinkDel(link); err != nil && !absent(err) {
		return fmt.Errorf("delete bridge %s: %w", name, err)
	}
	for _, u := range uplinks {
		err = errors.Join(err, h.DeleteLink(u.port.Name))
	}
	return err
}
