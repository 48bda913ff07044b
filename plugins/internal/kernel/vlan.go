package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// filterVLANs has a bridge keep VLANs apart. Ports that say nothing of VLANs
// stay together in the default one.
func (h *Host) filterVLANs(bridge *netlink.Bridge) error {
	if bridge.VlanFiltering != nil && *bridge.VlanFiltering {
		return nil
	}
	if err := h.link.BridgeSetVlanFiltering(bridge, true); err != nil {
		return noVLANs(fmt.Errorf("switch VLAN filtering of bridge %s on: %w", bridge.Name, err))
	}
	return nil
}

// noVLANs adds the reason to an error of a kernel that was built without.
func noVLANs(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("keys vlan and vlanTrunk need a kernel with CONFIG_BRIDGE_VLAN_FILTERING: %w", err)
	}
	return err
}

// setVLANs puts a port into its VLANs.
func (h *Host) setVLANs(port netlink.Link, want wire.PortVLANs) error {
	if want.IsZero() {
		return nil
	}
	name := port.Attrs().Name
	if !want.KeepDefault {
		if err := h.leaveVLANs(port); err != nil {
			return noVLANs(fmt.Errorf("take port %s out of its default VLAN: %w", name, err))
		}
	}
	if want.Native != 0 {
		if err := h.link.BridgeVlanAdd(port, want.Native, true, true, false, true); err != nil {
			return noVLANs(fmt.Errorf("put port %s into VLAN %d: %w", name, want.Native, err))
		}
	}
	for _, r := range want.Tagged {
		if err := h.addTagged(port, r); err != nil {
			return noVLANs(fmt.Errorf("put port %s into VLAN %s, tagged: %w", name, r, err))
		}
	}
	return nil
}

// addTagged puts a port into a range of VLANs. The kernel refuses a range that
// ends where it begins (br_process_vlan_info).
func (h *Host) addTagged(port netlink.Link, r wire.VLANRange) error {
	if r.First == r.Last {
		return h.link.BridgeVlanAdd(port, r.First, false, false, false, true)
	}
	return h.link.BridgeVlanAddRange(port, r.First, r.Last, false, false, false, true)
}

// leaveVLANs takes a port out of all VLANs it is in.
func (h *Host) leaveVLANs(port netlink.Link) error {
	all, err := h.link.BridgeVlanList()
	if err != nil {
		return err
	}
	for _, v := range all[int32(port.Attrs().Index)] {
		if err := h.link.BridgeVlanDel(port, v.Vid, false, false, false, true); err != nil {
			return err
		}
	}
	return nil
}

// checkVLANs compares a port's VLANs.
func (h *Host) checkVLANs(port netlink.Link, want wire.PortVLANs) error {
	if want.IsZero() {
		return nil
	}
	all, err := h.link.BridgeVlanList()
	if err != nil {
		return fmt.Errorf("list the VLANs of port %s: %w", port.Attrs().Name, err)
	}
	return compareVLANs(port.Attrs().Name, all[int32(port.Attrs().Index)], want)
}

func compareVLANs(port string, have []*nl.BridgeVlanInfo, want wire.PortVLANs) error {
	flags := map[uint16]uint16{}
	for _, v := range have {
		flags[v.Vid] = v.Flags
	}
	const native = nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED
	if want.Native != 0 && flags[want.Native]&native != native {
		return fmt.Errorf("VLAN %d is not the native one of port %s", want.Native, port)
	}
	for _, r := range want.Tagged {
		for id := r.First; id <= r.Last; id++ {
			if got, member := flags[id]; !member || got&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0 {
				return fmt.Errorf("port %s does not carry VLAN %d tagged", port, id)
			}
		}
	}
	return nil
}

// EnsureVLANGateway makes the pair of links by which the host takes part in a
// VLAN of a bridge, if it is not there, and gives it its addresses.
func (h *Host) EnsureVLANGateway(want wire.VLANGateway) error {
	link, err := h.link.LinkByName(want.Name)
	if absent(err) {
		link, err = h.makeVLANGateway(want)
	}
	if err != nil {
		return fmt.Errorf("gateway %s of VLAN %d: %w", want.Name, want.VLANs.Native, err)
	}
	if err := h.ensureGateways(link, want.Gateways, replacing(want.ReplaceGateways)); err != nil {
		return err
	}
	return h.ensureUp(link)
}

func (h *Host) makeVLANGateway(want wire.VLANGateway) (netlink.Link, error) {
	bridge, err := h.findBridge(want.Bridge)
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = want.Port, bridge.MTU, bridge.Index
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU, veth.PeerHardwareAddr = want.Name, uint32(bridge.MTU), want.MAC.Net()
	if err := h.link.LinkAdd(veth); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make pair %s and %s: %w", want.Port, want.Name, err)
	}
	for _, name := range []string{want.Port, want.Name} {
		if err := ignoreAdvertisements(name); err != nil {
			return nil, err
		}
	}
	port, err := h.link.LinkByName(want.Port)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", want.Port, err)
	}
	if err := h.setVLANs(port, want.VLANs); err != nil {
		return nil, err
	}
	if err := h.ensureUp(port); err != nil {
		return nil, err
	}
	return h.link.LinkByName(want.Name)
}

func (h *Host) checkVLANGateway(want wire.VLANGateway) error {
	link, err := h.link.LinkByName(want.Name)
	if err != nil {
		return fmt.Errorf("gateway %s of VLAN %d: %w", want.Name, want.VLANs.Native, err)
	}
	return h.checkGateways(link, want.Gateways)
}
