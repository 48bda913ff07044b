package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

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
	if g := w.Shared.VLANGateway; g != nil {
		if err := h.checkVLANGateway(*g); err != nil {
			return err
		}
	}
	if w.Owned.Link != nil {
		if err := h.checkLink(c, w.Owned); err != nil {
			return err
		}
	}
	if b := w.Owned.Bandwidth; b != nil {
		if err := h.checkBandwidth(c, *b); err != nil {
			return err
		}
	}
	if t := w.Owned.Tuning; t != nil {
		return c.checkTuning(*t)
	}
	return nil
}

func (h *Host) checkLink(c *Container, owned wire.Owned) error {
	var err error
	switch link := owned.Link.(type) {
	case wire.Veth:
		if err = h.checkPort(link); absent(err) && link.Bridge != "" && h.takesMore(link) {
			err = h.checkBehind(c, link)
		}
	case wire.Macvlan:
		err = h.checkMacvlan(c, link)
	}
	if err != nil {
		return err
	}
	if veth, ok := owned.Link.(wire.Veth); ok {
		for _, name := range owned.Guests {
			if err := h.checkPort(veth.GuestPort(name)); err != nil {
				return err
			}
		}
	}
	return c.check(owned)
}

func (h *Host) checkBridge(want wire.Bridge) error {
	link, err := h.findBridge(want.Name)
	if err != nil {
		return err
	}
	return h.checkGateways(link, want.Gateways)
}

func (h *Host) checkGateways(link netlink.Link, gateways []netip.Prefix) error {
	have, err := h.rt.addresses(link.Attrs().Index)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, gateway := range gateways {
		if !slices.Contains(have, gateway) {
			return fmt.Errorf("%s %s has lost its gateway address %s", link.Type(), link.Attrs().Name, gateway)
		}
	}
	return nil
}

func (c *Container) check(owned wire.Owned) error {
	name := owned.Link.ContainerName()
	found, err := c.rt.look(name)
	if err != nil {
		return fmt.Errorf("interface %s in %s: %w", name, c.Path, err)
	}
	link := found[0]
	if !link.up() && owned.Link.Up() {
		return fmt.Errorf("interface %s in %s is down", name, c.Path)
	}
	have, err := c.rt.addresses(link.index)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, want := range owned.Addresses {
		if !slices.Contains(have, want.Prefix) {
			return fmt.Errorf("interface %s has lost its address %s", name, want.Prefix)
		}
	}
	return c.checkRoutes(link.device(), owned.Routes)
}
