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
	attrs.MTU = want.MTU
	attrs.Flags = net.FlagUp
	if want.Bridge != "" {
		bridge, err := h.findBridge(want.Bridge)
		if err != nil {
			return err
		}
		attrs.MasterIndex = bridge.Index
		if attrs.MTU == 0 {
			attrs.MTU = bridge.MTU
		}
	}
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
	if err := setSysctl(wire.Sysctl{Path: "net/ipv6/conf/" + want.Host + "/accept_ra", Value: "0"}); err != nil && !noIPv6(err) {
		return err
	}
	return h.setPort(want)
}

// setPort sets what a bridge port needs beyond its master.
func (h *Host) setPort(want wire.Veth) error {
	if !want.Hairpin && !want.Isolated {
		return nil
	}
	link, err := h.link.LinkByName(want.Host)
	if err != nil {
		return fmt.Errorf("look for %s: %w", want.Host, err)
	}
	if want.Hairpin {
		if err := h.link.LinkSetHairpin(link, true); err != nil {
			return fmt.Errorf("set hairpin mode on %s: %w", want.Host, err)
		}
	}
	if want.Isolated {
		if err := h.link.LinkSetIsolated(link, true); err != nil {
			return fmt.Errorf("isolate port %s: %w", want.Host, err)
		}
	}
	return nil
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
		// br_add_if: a bridge has 1,023 ports (BR_MAX_PORTS).
		return fmt.Errorf("attach to bridge %s: all 1023 ports are in use: %w", want.Bridge, err)
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
		err = vanish(link.Attrs().Index)
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
