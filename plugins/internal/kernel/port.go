package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// maxPorts is the number of ports a bridge can have (BR_MAX_PORTS less one).
const maxPorts = 1023

// ErrBridgeFull tells what the kernel's "exchange full" means. Another container
// can be attached by CreateBehind, if the bridge has an uplink.
var ErrBridgeFull = fmt.Errorf("%d of %d ports are in use", maxPorts, maxPorts)

// setPort sets what a bridge port needs beyond its master and flags.
func (h *Host) setPort(want wire.Veth) error {
	if !want.OwnMACOnly && want.VLANs.IsZero() {
		return nil
	}
	link, err := h.link.LinkByName(want.Host)
	if err != nil {
		return fmt.Errorf("look for %s: %w", want.Host, err)
	}
	if err := h.setVLANs(link, want.VLANs); err != nil {
		return err
	}
	if want.OwnMACOnly {
		return h.lock(link, want.MAC)
	}
	return nil
}

// lock has the bridge drop what comes in by a port with another source address
// than the given one. A locked port (Linux 5.18) lets in what the bridge's
// forwarding table knows to be behind it; so the one address is entered there,
// in every VLAN of the port, sticky so that nobody else can draw it to another
// port, and nothing more is learned. No rule is needed that would have to be
// removed again.
func (h *Host) lock(link netlink.Link, mac wire.HardwareAddr) error {
	name := link.Attrs().Name
	err := h.link.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: mac.Net(),
		State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER | netlink.NTF_STICKY,
	})
	if err != nil {
		return fmt.Errorf("enter %s on port %s: %w", mac, name, err)
	}
	if err := h.link.LinkSetLearning(link, false); err != nil {
		return fmt.Errorf("stop learning on port %s: %w", name, err)
	}
	if err := setLocked(link.Attrs().Index); err != nil {
		return fmt.Errorf("lock port %s: %w", name, err)
	}
	locked, err := isLocked(link.Attrs().Index)
	if err == nil && !locked { // older kernels pass over what they don't know
		err = errors.New("the kernel is older than 5.18: remove the key macspoofchk")
	}
	if err != nil {
		return fmt.Errorf("lock port %s: %w", name, err)
	}
	return nil
}

// setLocked sets IFLA_BRPORT_LOCKED, which the netlink library has no call for.
func setLocked(index int) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	header := nl.NewIfInfomsg(unix.AF_BRIDGE)
	header.Index = int32(index)
	request.AddData(header)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(nl.IFLA_BRPORT_LOCKED, []byte{1})
	request.AddData(port)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// isLocked reads the attribute; a kernel that does not know it says no.
func isLocked(index int) (bool, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
	links, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return false, err
	}
	for _, data := range links {
		header := nl.DeserializeIfInfomsg(data)
		if int(header.Index) != index {
			continue
		}
		if value := attribute(data[header.Len():], unix.IFLA_PROTINFO, nl.IFLA_BRPORT_LOCKED); len(value) == 1 {
			return value[0] == 1, nil
		}
	}
	return false, nil
}

// checkPort compares the host's end of a pair.
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
	if err := h.checkPortFlags(link, want); err != nil {
		return err
	}
	return h.checkVLANs(link, want.VLANs)
}

func (h *Host) checkPortFlags(link netlink.Link, want wire.Veth) error {
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
	if !want.OwnMACOnly {
		return nil
	}
	locked, err := isLocked(link.Attrs().Index)
	if err == nil && !locked {
		err = errors.New("it lets any source address in")
	}
	if err != nil {
		return fmt.Errorf("port %s of bridge %s: %w", want.Host, want.Bridge, err)
	}
	return nil
}

// Ready tells whether what a link needs of the host is there. Where it will soon
// be used up it says how much of it is in use, and how to get past the limit.
func (h *Host) Ready(link wire.Link) (warning string, err error) {
	switch l := link.(type) {
	case wire.Macvlan:
		if !l.ParentInContainer {
			_, err = findParent(h.link, l.Parent)
		}
	case wire.Veth:
		if l.Bridge != "" && !h.takesMore(l) {
			return h.portsLeft(l.Bridge)
		}
	}
	return warning, err
}

// crowdedFrom is the number of ports, nine in ten, from which on a bridge that
// has no uplink is spoken of.
const crowdedFrom = maxPorts * 9 / 10

// portsLeft tells whether a bridge takes another port. One that is not there yet
// does.
func (h *Host) portsLeft(bridge string) (warning string, err error) {
	n, err := h.ports(bridge)
	switch {
	case err != nil:
		return "", err
	case n >= maxPorts:
		return "", fmt.Errorf("bridge %s: %w", bridge, ErrBridgeFull)
	case n >= crowdedFrom:
		warning = fmt.Sprintf("bridge %s: %d of %d ports are in use: remove some, or use another network for containers with vlan, vlanTrunk or macspoofchk", bridge, n, maxPorts)
	}
	return warning, nil
}

// ports counts the ports of a bridge; one that is not there has none.
func (h *Host) ports(name string) (n int, err error) {
	bridge, err := h.findBridge(name)
	if absent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	links, err := h.link.LinkList()
	if err != nil {
		return 0, fmt.Errorf("list the ports of bridge %s: %w", name, err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Index {
			n++
		}
	}
	return n, nil
}

// takesMore tells whether a bridge takes a container behind an uplink, however
// full it is.
func (h *Host) takesMore(want wire.Veth) bool {
	if !canShare(want) {
		return false
	}
	there, err := h.uplinks(want.Bridge)
	return err == nil && len(there) > 0
}
