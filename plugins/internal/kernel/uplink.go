package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A bridge of the kernel has 1,023 ports (BR_PORT_BITS; moby#44973). And before
// that it becomes deaf: a broadcast is queued once for each port, a processor
// has room for 1,000 packets (net.core.netdev_max_backlog), and the answer to
// an ARP request finds the queue full of copies of the request. So containers
// beyond 900 share ports: the bridge's uplinks, each a pair of links, one end
// a port of the bridge, the other the parent of macvlan interfaces in the
// containers. To everybody they are on the same segment: same subnet, same
// gateway, and all that the host does with their packets it does at the bridge,
// so that no rule knows the difference. (Another bridge behind the first would be one more place at
// which br_netfilter shows bridged packets to the host's rules, which then
// translate and drop what is not theirs yet.)
//
// There are several, since macvlan is a segment of the same kind: what one
// container broadcasts is queued for each of its siblings first and for the bridge
// last. Behind a single uplink with more than 1,000 nobody reaches the gateway.
// Which uplink a container has follows from its name (wire.Veth.Uplink).
//
// The bridge's alias tells that it has uplinks, so that a small network pays
// nothing: the alias is read with the bridge itself.
const (
	// uplinkFrom is the number of the port whose user makes the first uplink. Ports
	// are numbered from 1, and the lowest free one is given.
	uplinkFrom = 900

	aliasUplink = "netctl: more containers are attached behind the uplink"
)

// canShare tells whether a container needs no port of its own.
func canShare(want wire.Veth) bool { return want.VLANs.IsZero() && !want.OwnMACOnly }

// foresee makes an uplink if a container has got one of the last ports. Where
// there is none left for it, all stays as it is: the next container is refused.
func (h *Host) foresee(bridge, made Interface, want wire.Veth) error {
	if made.port < uplinkFrom || bridge.alias == aliasUplink || !canShare(want) {
		return nil
	}
	err := h.ensureUplink(bridge.bridge(), want, want.Uplink())
	if errors.Is(err, unix.EXFULL) {
		return nil
	}
	return err
}

// ensureUplink makes the pair, or puts the port of one that is there back into
// the bridge.
func (h *Host) ensureUplink(bridge *netlink.Bridge, want wire.Veth, number int) error {
	port, parent := wire.Uplink(bridge.Name, number)
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

// uplinkParent is the end of the uplink on which a container is made. If it is
// not there (not made yet, or somebody has taken it away), it is made; where the
// bridge has no port left for it, one that is there has to do.
func (h *Host) uplinkParent(bridge Interface, want wire.Veth) (Interface, error) {
	_, name := wire.Uplink(want.Bridge, want.Uplink())
	found, err := h.rt.look(name)
	if absent(err) {
		if err = h.ensureUplink(bridge.bridge(), want, want.Uplink()); err == nil {
			found, err = h.rt.look(name)
		}
	}
	if err == nil {
		return found[0], nil
	}
	if errors.Is(err, unix.EXFULL) {
		there, unread := h.uplinks(want.Bridge)
		if unread != nil {
			return Interface{}, unread
		}
		if len(there) > 0 {
			return there[0].parent, nil
		}
	}
	return Interface{}, err
}

// An uplink is a pair of links that are there.
type uplink struct{ port, parent Interface }

// uplinks are those of a bridge.
func (h *Host) uplinks(bridge string) (there []uplink, err error) {
	var requests []*nl.NetlinkRequest
	for n := range wire.Uplinks {
		port, parent := wire.Uplink(bridge, n)
		requests = append(requests, getLink(port), getLink(parent))
	}
	replies, err := h.rt.exchange(requests...)
	for i := 0; i < len(replies); i += 2 {
		port, missing := replies[i].link()
		parent, lost := replies[i+1].link()
		switch {
		case missing == nil && lost == nil:
			there = append(there, uplink{port, parent})
		case missing != nil && !absent(missing):
			return nil, fmt.Errorf("look for the uplinks of bridge %s: %w", bridge, missing)
		}
	}
	return there, err
}

// checkBehind tells whether the container is attached behind an uplink.
func (h *Host) checkBehind(c *Container, want wire.Veth) error {
	there, err := h.uplinks(want.Bridge)
	if err != nil {
		return err
	}
	bridge, err := h.lookBridge(want.Bridge)
	if err != nil {
		return err
	}
	inside, err := c.rt.look(want.Container)
	if err != nil {
		return fmt.Errorf("in %s: %w", c.Path, err)
	}
	at := slices.IndexFunc(there, func(u uplink) bool { return inside[0].kind == "macvlan" && inside[0].parent == u.parent.index })
	if at < 0 {
		return fmt.Errorf("interface %s in %s is not attached to bridge %s: %w", want.Container, c.Path, want.Bridge, unix.ENODEV)
	}
	switch port, parent := there[at].port, there[at].parent; {
	case port.master != bridge.index:
		return fmt.Errorf("uplink %s is not a port of bridge %s", port.Name, want.Bridge)
	case !port.up() || !parent.up():
		return fmt.Errorf("uplink %s of bridge %s is down", port.Name, want.Bridge)
	}
	return nil
}
