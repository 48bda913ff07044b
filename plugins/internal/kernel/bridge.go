package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// EnsureBridge makes the bridge if it is not there, gives it its gateway
// addresses and brings it up. Several processes may do this at the same time:
// each step adds what is absent and takes "exists" for success.
func (h *Host) EnsureBridge(want wire.Bridge) error {
	link, err := h.findBridge(want.Name)
	if absent(err) {
		link, err = h.makeBridge(want)
	}
	if err != nil {
		return err
	}
	if err := h.ensureGateways(link, want); err != nil {
		return err
	}
	if want.Promiscuous && link.Attrs().Promisc == 0 {
		if err := h.link.SetPromiscOn(link); err != nil {
			return fmt.Errorf("set bridge %s promiscuous: %w", want.Name, err)
		}
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := h.link.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring bridge %s up: %w", want.Name, err)
		}
	}
	return nil
}

func (h *Host) findBridge(name string) (*netlink.Bridge, error) {
	link, err := h.link.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for bridge %s: %w", name, err)
	}
	bridge, ok := link.(*netlink.Bridge)
	if !ok {
		return nil, fmt.Errorf("interface %s exists and is a %s, not a bridge", name, link.Type())
	}
	return bridge, nil
}

// makeBridge creates the device with an address of its own (see wire.Bridge)
// and deaf to router advertisements (CVE-2020-10749).
func (h *Host) makeBridge(want wire.Bridge) (*netlink.Bridge, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = want.Name
	attrs.MTU = want.MTU
	if want.MAC.IsValid() {
		attrs.HardwareAddr = want.MAC.Net()
	}
	// A transmit queue of its own would only delay; -1 keeps the kernel's default.
	attrs.TxQLen = -1
	err := h.link.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make bridge %s: %w", want.Name, err)
	}
	if err := setSysctl(wire.Sysctl{Path: "net/ipv6/conf/" + want.Name + "/accept_ra", Value: "0"}); err != nil && !noIPv6(err) {
		return nil, err
	}
	return h.findBridge(want.Name)
}

// ensureGateways adds the gateway addresses. An address of another subnet of
// the same family is somebody's who uses the bridge for another network: for
// IPv4 that is an error unless the configuration says to replace it; IPv6
// subnets may live side by side unless they overlap.
func (h *Host) ensureGateways(link *netlink.Bridge, want wire.Bridge) error {
	if len(want.Gateways) == 0 {
		return nil
	}
	have, err := h.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of bridge %s: %w", want.Name, err)
	}
	for _, gateway := range want.Gateways {
		present := false
		for _, addr := range have {
			prefix := prefixOf(addr.IPNet)
			switch {
			case prefix == gateway:
				present = true
			case prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().Is4() != gateway.Addr().Is4():
			case prefix.Addr().Is4() || prefix.Overlaps(gateway):
				if !want.ReplaceGateways {
					return fmt.Errorf("bridge %s has the address %s already, which is not the gateway %s: another network uses it, or its subnet was changed", want.Name, prefix, gateway)
				}
				if err := h.link.AddrDel(link, &addr); err != nil && !absent(err) {
					return fmt.Errorf("remove address %s from bridge %s: %w", prefix, want.Name, err)
				}
			}
		}
		if present {
			continue
		}
		addr := &netlink.Addr{IPNet: ipNet(gateway)}
		if gateway.Addr().Is6() {
			// The bridge is ours alone: nobody else can have the address,
			// and detection would keep it tentative for a second or two.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.link.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address %s to bridge %s: %w", gateway, want.Name, err)
		}
	}
	return nil
}

// RemoveBridge deletes the device unless ports other than the given ones are
// still on it. A bridge that is not there is no error.
func (h *Host) RemoveBridge(name string) error {
	link, err := h.findBridge(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.link.LinkDel(link); err != nil && !absent(err) {
		return fmt.Errorf("delete bridge %s: %w", name, err)
	}
	return nil
}
