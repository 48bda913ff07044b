package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// createMacvlan makes the interface in the container's namespace with its
// final name: the kernel looks the parent up in the namespace of the request
// and registers the device in the one it is meant for.
func (h *Host) createMacvlan(c *Container, want wire.Macvlan) error {
	handle := h.link
	if want.ParentInContainer {
		handle = c.link
	}
	parent, err := findParent(handle, want.Parent)
	if err != nil {
		return err
	}
	if want.MTU > parent.Attrs().MTU {
		return fmt.Errorf("key mtu: invalid value %d: want at most %d, the MTU of the parent %s", want.MTU, parent.Attrs().MTU, parent.Attrs().Name)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = want.Container
	attrs.ParentIndex = parent.Attrs().Index
	attrs.MTU = want.MTU
	attrs.HardwareAddr = want.MAC.Net()
	link := &netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanMode(want.Mode), BCQueueLen: want.BCQueueLen}
	if want.ParentInContainer {
		err = handle.LinkAdd(link)
	} else {
		err = h.addInside(c, link)
	}
	switch {
	case errors.Is(err, ErrLinkExists):
		return err
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s in %s: %w", want.Container, c.Path, ErrLinkExists)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("make %s on parent %s: the parent is in exclusive use (a bridge port, or another passthru interface): %w", want.Container, parent.Attrs().Name, err)
	case err != nil:
		return fmt.Errorf("make %s on parent %s: %w", want.Container, parent.Attrs().Name, err)
	}
	return nil
}

// findParent finds the parent by name, or the interface of the default route.
func findParent(handle *netlink.Handle, name string) (netlink.Link, error) {
	if name != "" {
		parent, err := handle.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("key master: parent interface %q: %w", name, err)
		}
		return parent, nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := handle.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("look for the default route: %w", err)
		}
		for _, r := range routes {
			if prefixOf(r.Dst).Bits() <= 0 && r.LinkIndex > 0 {
				return handle.LinkByIndex(r.LinkIndex)
			}
		}
	}
	return nil, errors.New("key master is missing, and there is no default route whose interface could be the parent")
}

func macvlanMode(mode wire.MacvlanMode) netlink.MacvlanMode {
	switch mode {
	case wire.MacvlanPrivate:
		return netlink.MACVLAN_MODE_PRIVATE
	case wire.MacvlanVEPA:
		return netlink.MACVLAN_MODE_VEPA
	case wire.MacvlanPassthru:
		return netlink.MACVLAN_MODE_PASSTHRU
	}
	return netlink.MACVLAN_MODE_BRIDGE
}

// checkMacvlan compares kind and mode; the parent is compared where it can be
// seen, in the host.
func (h *Host) checkMacvlan(c *Container, want wire.Macvlan) error {
	link, err := c.link.LinkByName(want.Container)
	if err != nil {
		return fmt.Errorf("interface %s in %s: %w", want.Container, c.Path, err)
	}
	have, ok := link.(*netlink.Macvlan)
	if !ok {
		return fmt.Errorf("interface %s in %s is a %s, not a macvlan", want.Container, c.Path, link.Type())
	}
	if have.Mode != macvlanMode(want.Mode) {
		return fmt.Errorf("interface %s in %s is not in mode %s", want.Container, c.Path, want.Mode)
	}
	handle := h.link
	if want.ParentInContainer {
		handle = c.link
	}
	parent, err := findParent(handle, want.Parent)
	if err != nil {
		return err
	}
	if have.ParentIndex != parent.Attrs().Index {
		return fmt.Errorf("interface %s in %s is not on parent %s", want.Container, c.Path, parent.Attrs().Name)
	}
	return nil
}
