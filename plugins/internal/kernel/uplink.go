package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A bridge of the kernel has 1,023 ports (BR_PORT_BITS; moby#44973). And before
// that it becomes deaf: a broadcast is queued once for each port, a processor
// has room for 1,000 packets (net.core.netdev_max_backlog), and the answer to
// an ARP request finds the queue full of copies of the request. So containers
// beyond 900 share one port: the bridge's uplink, a pair of links, one end
// a port of the bridge, the other the parent of macvlan interfaces in the
// containers. To everybody they are on the same segment: same subnet, same
// gateway, and all that the host does with their packets it does at the bridge,
// so that no rule knows the difference. (Another bridge behind the first would be one more place at
// which br_netfilter shows bridged packets to the host's rules, which then
// translate and drop what is not theirs yet.)
//
// The bridge's alias tells that it has an uplink, so that a small network pays
// nothing: the alias is read with the bridge itself.
const (
	// uplinkFrom is the number of the port whose user makes the uplink. Ports
	// are numbered from 1, and the lowest free one is given.
	uplinkFrom = 900

	aliasUplink = "netctl: more containers are attached behind the uplink"
)

// canShare tells whether a container needs no port of its own.
func canShare(want wire.Veth) bool { return want.VLANs.IsZero() && !want.OwnMACOnly }

// foresee makes the uplink if a container has got one of the last ports. Where
// there is none left for the uplink, all stays as it is: the next container is
// refused.
func (h *Host) foresee(bridge, made Interface, want wire.Veth) error {
	if made.port < uplinkFrom || bridge.alias == aliasUplink || !canShare(want) {
		return nil
	}
	err := h.ensureUplink(bridge.bridge(), want)
	if errors.Is(err, unix.EXFULL) {
		return nil
	}
	return err
}

// ensureUplink makes the pair, or puts the port of one that is there back into
// the bridge.
func (h *Host) ensureUplink(bridge *netlink.Bridge, want wire.Veth) error {
	port, parent := wire.Uplink(bridge.Name)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = port, bridge.MTU, bridge.Index
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU = parent, uint32(bridge.MTU)
	err := h.link.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		err = h.rejoin(port, bridge)
	}
	if err != nil {
		_ = h.DeleteLink(port) // the library makes it first, and then a port
		return fmt.Errorf("make uplink %s of bridge %s: %w", port, bridge.Name, err)
	}
	if err := h.silence(parent); err != nil {
		return err
	}
	// As every other port of the network: two containers behind the uplink
	// talk through it by way of each other's published ports.
	if err := h.setFlags(wire.Veth{Host: port, Isolated: want.Isolated, Hairpin: want.Hairpin}); err != nil {
		return err
	}
	for _, name := range []string{port, parent} {
		if err := h.setUp(name); err != nil {
			return err
		}
	}
	return h.mark(bridge)
}

func (h *Host) rejoin(port string, bridge *netlink.Bridge) error {
	found, err := h.rt.look(port)
	if err != nil || found[0].master == bridge.Index {
		return err
	}
	return h.link.LinkSetMaster(found[0].device(), bridge)
}

// silence keeps the host itself off the parent: it would answer ARP for its
// own addresses there too, and the containers would take it for their gateway.
func (h *Host) silence(parent string) error {
	return setAvailable([]wire.Sysctl{
		{Path: "net/ipv6/conf/" + parent + "/disable_ipv6", Value: "1"},
		{Path: "net/ipv4/conf/" + parent + "/arp_ignore", Value: "8"}, // answer nothing
	})
}

func (h *Host) setUp(name string) error {
	if err := h.ask(setUp(0, name)); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

// mark writes the bridge's alias, unless somebody else has written one: then
// the uplink is used only when the kernel says that there is no port left.
func (h *Host) mark(bridge *netlink.Bridge) error {
	if bridge.Alias != "" {
		return nil
	}
	if err := h.link.LinkSetAlias(bridge, aliasUplink); err != nil {
		return fmt.Errorf("set alias of bridge %s: %w", bridge.Name, err)
	}
	if h.ensured.index == bridge.Index {
		h.ensured.alias = aliasUplink
	}
	return nil
}

// CreateBehind makes the container's end of a link for which CreateLink found
// no port: behind the bridge's uplink, without an end on the host.
func (h *Host) CreateBehind(c *Container, want wire.Veth) (Made, error) {
	switch {
	case !want.VLANs.IsZero():
		return Made{}, fmt.Errorf("attach to bridge %s: %w, and a container with a VLAN can't share one", want.Bridge, ErrBridgeFull)
	case want.OwnMACOnly:
		return Made{}, fmt.Errorf("attach to bridge %s: %w, and a container with macspoofchk can't share one", want.Bridge, ErrBridgeFull)
	}
	bridge, err := h.ensuredBridge(want.Bridge)
	if err != nil {
		return Made{}, err
	}
	parent, err := h.uplinkParent(bridge, want)
	if errors.Is(err, unix.EXFULL) {
		return Made{}, fmt.Errorf("attach to bridge %s: %w", want.Bridge, ErrBridgeFull)
	}
	if err != nil {
		return Made{}, err
	}
	new := macvlan{
		name: want.Container, parent: parent.index, mtu: h.mtu(want.MTU, bridge.MTU), mac: want.MAC,
		mode: netlink.MACVLAN_MODE_BRIDGE,
	}
	if want.Isolated {
		new.mode = netlink.MACVLAN_MODE_PRIVATE
	}
	switch err := h.addInside(c, new); {
	case errors.Is(err, ErrLinkExists):
		return Made{}, err
	case err != nil:
		return Made{}, fmt.Errorf("make %s behind uplink %s of bridge %s: %w", want.Container, parent.Name, want.Bridge, err)
	}
	bridge, err = h.lookBridge(want.Bridge)
	return Made{Bridge: bridge}, err
}

// uplinkParent is the end of the uplink on which containers are made. If it is
// not there (not made yet, or somebody has taken it away), it is made.
func (h *Host) uplinkParent(bridge Interface, want wire.Veth) (Interface, error) {
	_, name := wire.Uplink(want.Bridge)
	found, err := h.rt.look(name)
	if absent(err) {
		if err = h.ensureUplink(bridge.bridge(), want); err == nil {
			found, err = h.rt.look(name)
		}
	}
	if err != nil {
		return Interface{}, err
	}
	return found[0], nil
}

// checkBehind tells whether the container is attached behind the uplink.
func (h *Host) checkBehind(c *Container, want wire.Veth) error {
	port, name := wire.Uplink(want.Bridge)
	uplink, err := h.rt.look(port, name, want.Bridge)
	if err != nil {
		return err
	}
	inside, err := c.rt.look(want.Container)
	if err != nil {
		return fmt.Errorf("in %s: %w", c.Path, err)
	}
	switch {
	case inside[0].kind != "macvlan" || inside[0].parent != uplink[1].index:
		return fmt.Errorf("interface %s in %s is not attached to bridge %s: %w", want.Container, c.Path, want.Bridge, unix.ENODEV)
	case uplink[0].master != uplink[2].index:
		return fmt.Errorf("uplink %s is not a port of bridge %s", port, want.Bridge)
	case !uplink[0].up() || !uplink[1].up():
		return fmt.Errorf("uplink %s of bridge %s is down", port, want.Bridge)
	}
	return nil
}
