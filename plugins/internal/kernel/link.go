package kernel

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// HasLink tells whether the container has an interface of that name.
func (c *Container) HasLink(name string) (bool, error) {
	_, err := c.link.LinkByName(name)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in %s: %w", name, c.Path, err)
	}
	return true, nil
}

// CreateLink makes the owned link. The container's end is made in its
// namespace, with its final name, MTU and address; the host's end comes up as
// a port of its bridge: one request for all of it.
func (h *Host) CreateLink(c *Container, link wire.Link) error {
	switch l := link.(type) {
	case wire.Veth:
		return h.createVeth(c, l)
	case wire.Macvlan:
		return h.createMacvlan(c, l)
	}
	return fmt.Errorf("make %s: unknown kind of link %T", link.ContainerName(), link)
}

func (h *Host) createVeth(c *Container, want wire.Veth) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = want.Host
	attrs.Flags = net.FlagUp
	inherited := 0
	if want.Bridge != "" {
		bridge, err := h.findBridge(want.Bridge)
		if err != nil {
			return err
		}
		attrs.MasterIndex = bridge.Index
		inherited = bridge.MTU
	}
	attrs.MTU = h.mtu(want.MTU, inherited)
	veth := netlink.NewVeth(attrs)
	veth.PeerName = want.Container
	veth.PeerMTU = uint32(attrs.MTU)
	veth.PeerNamespace = netlink.NsFd(int(c.ns))
	if want.MAC.IsValid() {
		veth.PeerHardwareAddr = want.MAC.Net()
	}
	if err := h.link.LinkAdd(veth); err != nil {
		return h.explainVeth(c, want, err)
	}
	err := ignoreAdvertisements(want.Host)
	if errors.Is(err, unix.EROFS) && want.Bridge != "" {
		// In a nested container /proc/sys may be read-only. What arrives at
		// the port of a bridge is the bridge's anyway, never the port's own.
		err = nil
	}
	if err != nil {
		return err
	}
	return h.setPort(want)
}

// explainVeth finds the reason in the kernel's short answers.
func (h *Host) explainVeth(c *Container, want wire.Veth, err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		if exists, _ := c.HasLink(want.Container); exists {
			return fmt.Errorf("%s in %s: %w", want.Container, c.Path, ErrLinkExists)
		}
		return fmt.Errorf("%s on the host: %w", want.Host, ErrLinkExists)
	case errors.Is(err, unix.EXFULL), errors.Is(err, unix.E2BIG):
		return fmt.Errorf("attach to bridge %s: %w", want.Bridge, errBridgeFull)
	}
	return fmt.Errorf("make pair %s (host) and %s (container): %w", want.Host, want.Container, err)
}

// DeleteLink removes an interface of the container; one that is not there is
// no error.
func (c *Container) DeleteLink(name string) error {
	link, err := c.link.LinkByName(name)
	if err == nil {
		err = c.link.LinkDel(link)
	}
	return deleted(name, err)
}

// DeleteLink removes a host-side link, and with it the container's end. It
// returns when nobody can see the link any more (see vanish.go). A link that
// is not there is no error.
func (h *Host) DeleteLink(name string) error {
	link, err := h.link.LinkByName(name)
	if err == nil {
		err = vanish(link.Attrs().Index, h.parked)
		h.drop()
	}
	if errors.Is(err, errMissed) {
		// This waits for the kernel to the end, and makes sure.
		err = h.link.LinkDel(link)
	}
	return deleted(name, err)
}

func deleted(name string, err error) error {
	if err != nil && !absent(err) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
