package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// createMacvlan makes the interface in the container's namespace with its
// final name: the kernel looks the parent up in the namespace of the request
// and registers the device in the one it is meant for.
func (h *Host) createMacvlan(c *Container, want wire.Macvlan) error {
	parent, err := h.lookParent(c, want)
	if err != nil {
		return err
	}
	if want.MTU > parent.MTU {
		return fmt.Errorf("key mtu: invalid value %d: want at most %d, the MTU of the parent %s", want.MTU, parent.MTU, parent.Name)
	}
	new := macvlan{
		name: want.Container, parent: parent.index, mtu: want.MTU, mac: want.MAC,
		mode: macvlanMode(want.Mode), queue: want.BCQueueLen,
	}
	if want.ParentInContainer {
		err = c.ask(new.request())
	} else {
		err = h.addInside(c, new)
	}
	switch {
	case errors.Is(err, ErrLinkExists):
		return err
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s in %s: %w", want.Container, c.Path, ErrLinkExists)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("make %s on parent %s: the parent is in exclusive use (a bridge port, or another passthru interface): %w", want.Container, parent.Name, err)
	case errors.Is(err, unix.EINVAL) && want.MTU == 0:
		// The kernel's answer to a parent that has no Ethernet frames.
		return fmt.Errorf("make %s on parent %s: the parent must be an Ethernet interface, not lo, a tunnel or a WireGuard interface: %w", want.Container, parent.Name, err)
	case err != nil:
		return fmt.Errorf("make %s on parent %s: %w", want.Container, parent.Name, err)
	}
	return nil
}

// macvlan is a new interface on a parent, in the parent's namespace unless
// another one is given.
type macvlan struct {
	name      string
	parent    int
	mtu       int // 0 is the parent's
	mac       wire.HardwareAddr
	mode      netlink.MacvlanMode
	queue     uint32 // for broadcasts, in packets; 0 is the kernel's default
	namespace netns.NsHandle
}

func (m macvlan) request() *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.name)))
	r.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(m.parent))))
	if m.mtu != 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(m.mtu))))
	}
	if m.mac.IsValid() {
		r.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, m.mac.Net()))
	}
	if m.namespace != 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(m.namespace))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	// The kernel's modes are bits, in the order of the library's numbers.
	data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(nl.MACVLAN_MODE_PRIVATE<<(m.mode-netlink.MACVLAN_MODE_PRIVATE)))
	if m.queue != 0 {
		data.AddRtAttr(nl.IFLA_MACVLAN_BC_QUEUE_LEN, nl.Uint32Attr(m.queue))
	}
	r.AddData(info)
	return r
}

// lookParent finds the parent by name, or the interface of the default route,
// in the namespace that has it.
func (h *Host) lookParent(c *Container, want wire.Macvlan) (Interface, error) {
	rt, name := h.rt, want.Parent
	if want.ParentInContainer {
		rt = c.rt
	}
	if name == "" {
		handle, err := h.parentHandle(c, want)
		if err != nil {
			return Interface{}, err
		}
		parent, err := findParent(handle, "")
		if err != nil {
			return Interface{}, err
		}
		name = parent.Attrs().Name
	}
	found, err := rt.look(name)
	if err != nil {
		return Interface{}, fmt.Errorf("key master: parent interface %q: %w", name, err)
	}
	return found[0], nil
}

// parentHandle works in the namespace that has the parent.
func (h *Host) parentHandle(c *Container, want wire.Macvlan) (*netlink.Handle, error) {
	if want.ParentInContainer {
		return c.library()
	}
	return h.link, nil
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
	link, _, err := c.find(want.Container)
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
	handle, err := h.parentHandle(c, want)
	if err != nil {
		return err
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
