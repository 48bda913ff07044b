package kernel

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Check compares what a Wiring asks for with what is there, and returns an
// error that names the first difference. It looks at nothing it does not own:
// routes, addresses and flags that others have added are fine.
func Check(h *Host, c *Container, w wire.Wiring) error {
	if b := w.Shared.Bridge; b != nil {
		if err := h.checkBridge(*b); err != nil {
			return err
		}
	}
	if w.Owned.Link == nil {
		return nil
	}
	var err error
	switch link := w.Owned.Link.(type) {
	case wire.Veth:
		err = h.checkPort(link)
	case wire.Macvlan:
		err = h.checkMacvlan(c, link)
	}
	if err != nil {
		return err
	}
	return c.check(w.Owned)
}

func (h *Host) checkBridge(want wire.Bridge) error {
	link, err := h.findBridge(want.Name)
	if err != nil {
		return err
	}
	have, err := h.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of bridge %s: %w", want.Name, err)
	}
	for _, gateway := range want.Gateways {
		if !contains(have, ipNet(gateway)) {
			return fmt.Errorf("bridge %s has lost its gateway address %s", want.Name, gateway)
		}
	}
	return nil
}

func (h *Host) checkPort(want wire.Veth) error {
	link, err := h.link.LinkByName(want.Host)
	if err != nil {
		return fmt.Errorf("host end %s of the pair: %w", want.Host, err)
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return fmt.Errorf("host end %s of the pair is down", want.Host)
	}
	if want.Bridge == "" {
		return nil
	}
	bridge, err := h.findBridge(want.Bridge)
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex != bridge.Index {
		return fmt.Errorf("host end %s of the pair is not a port of bridge %s", want.Host, want.Bridge)
	}
	if want.Hairpin || want.Isolated {
		port, err := h.link.LinkGetProtinfo(link)
		if err != nil {
			return fmt.Errorf("read port %s: %w", want.Host, err)
		}
		if want.Hairpin && !port.Hairpin {
			return fmt.Errorf("port %s of bridge %s is not in hairpin mode", want.Host, want.Bridge)
		}
		if want.Isolated && !port.Isolated {
			return fmt.Errorf("port %s of bridge %s is not isolated", want.Host, want.Bridge)
		}
	}
	return nil
}

func (c *Container) check(owned wire.Owned) error {
	name := owned.Link.ContainerName()
	link, err := c.link.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s in %s: %w", name, c.Path, err)
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 && owned.Link.Up() {
		return fmt.Errorf("interface %s in %s is down", name, c.Path)
	}
	have, err := c.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, want := range owned.Addresses {
		if !contains(have, ipNet(want.Prefix)) {
			return fmt.Errorf("interface %s has lost its address %s", name, want.Prefix)
		}
	}
	return c.checkRoutes(link, owned.Routes)
}

func (c *Container) checkRoutes(link netlink.Link, routes []wire.Route) error {
	for _, want := range routes {
		family := netlink.FAMILY_V4
		if want.To.Addr().Is6() {
			family = netlink.FAMILY_V6
		}
		filter := routeOf(link, want)
		mask := netlink.RT_FILTER_DST | netlink.RT_FILTER_OIF
		if want.Via.IsValid() {
			mask |= netlink.RT_FILTER_GW
		}
		if want.Table != 0 {
			mask |= netlink.RT_FILTER_TABLE
		}
		if want.Metric != 0 {
			mask |= netlink.RT_FILTER_PRIORITY
		}
		found, err := c.link.RouteListFiltered(family, filter, mask)
		if err != nil {
			return fmt.Errorf("list routes of %s: %w", link.Attrs().Name, err)
		}
		if len(found) == 0 {
			return fmt.Errorf("route to %s via %s is missing in %s", want.To, viaText(want), c.Path)
		}
	}
	return nil
}

func contains(have []netlink.Addr, want *net.IPNet) bool {
	for _, a := range have {
		if a.IPNet != nil && a.IP.Equal(want.IP) && a.Mask.String() == want.Mask.String() {
			return true
		}
	}
	return false
}
