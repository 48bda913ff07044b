package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// IsFree tells whether a link of the host can become a port of a bridge: it is
// there, belongs to none yet, and is not used otherwise: a bridge, an
// intermediate device, or a link with addresses of its own (which would not be
// reachable there any more) stay what they are.
func (h *Host) IsFree(name string) (bool, error) {
	link, err := h.link.LinkByName(name)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	attrs := link.Attrs()
	switch link.Type() {
	case "bridge", "ifb":
		return false, nil
	}
	if attrs.MasterIndex != 0 || attrs.RawFlags&unix.IFF_LOOPBACK != 0 {
		return false, nil
	}
	addresses, err := h.link.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return false, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, a := range addresses {
		if !a.IP.IsLinkLocalUnicast() {
			return false, nil
		}
	}
	return true, nil
}

// Join makes a link of the host a port of a bridge.
func (h *Host) Join(port wire.Veth) error {
	bridge, err := h.findBridge(port.Bridge)
	if err != nil {
		return err
	}
	link, err := h.link.LinkByName(port.Host)
	if err != nil {
		return fmt.Errorf("look for %s: %w", port.Host, err)
	}
	if err := h.link.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("make %s a port of bridge %s: %w", port.Host, port.Bridge, err)
	}
	if err := h.ensureUp(link); err != nil {
		return err
	}
	if err := h.setFlags(port); err != nil {
		return err
	}
	return h.setPort(port)
}

// Disconnect takes a link of the host out of its bridge and down. One that is
// not there is no error.
func (h *Host) Disconnect(name string) error {
	link, err := h.link.LinkByName(name)
	if err == nil {
		err = h.link.LinkSetNoMaster(link)
	}
	if err == nil {
		err = h.link.LinkSetDown(link)
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("cut %s off: %w", name, err)
	}
	return nil
}

// Leave takes a link out of a bridge. One that is not there, or that is
// somebody else's port by now, is no error.
func (h *Host) Leave(name, bridge string) error {
	link, err := h.link.LinkByName(name)
	if absent(err) || err == nil && link.Attrs().MasterIndex == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	master, err := h.findBridge(bridge)
	if absent(err) || err == nil && link.Attrs().MasterIndex != master.Index {
		return nil
	}
	if err == nil {
		err = h.link.LinkSetNoMaster(link)
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("take %s out of bridge %s: %w", name, bridge, err)
	}
	return nil
}
