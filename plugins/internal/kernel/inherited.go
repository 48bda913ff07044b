package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// WouldMake tells whether the container's interface is of the kind that a link
// describes, whoever made it: for a pair, the other end must be a port of the
// link's bridge. One that is not there is not.
func (h *Host) WouldMake(c *Container, want wire.Link) (bool, error) {
	link, _, err := c.find(want.ContainerName())
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in %s: %w", want.ContainerName(), c.Path, err)
	}
	switch want := want.(type) {
	case wire.Macvlan:
		return link.Type() == "macvlan", nil
	case wire.Veth:
		return h.isPortOf(want.Bridge, link)
	}
	return false, nil
}

// isPortOf tells whether the other end of a container's pair is a port of the
// bridge. Each end of a pair names the other's index, so two indices that name
// each other and are of the right kind are a pair.
func (h *Host) isPortOf(bridge string, end netlink.Link) (bool, error) {
	if end.Type() != "veth" {
		return false, nil
	}
	peer, err := h.link.LinkByIndex(end.Attrs().ParentIndex)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the other end of %s: %w", end.Attrs().Name, err)
	}
	if peer.Type() != "veth" || peer.Attrs().ParentIndex != end.Attrs().Index {
		return false, nil
	}
	master, err := h.findBridge(bridge)
	if absent(err) {
		return false, nil
	}
	return err == nil && peer.Attrs().MasterIndex == master.Index, nil
}
