package kernel

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Configure sets up the inside of the container: loopback, the link's
// parameters and addresses, then the routes.
func (c *Container) Configure(owned wire.Owned) error {
	if owned.Loopback {
		if err := c.LoopbackUp(); err != nil {
			return err
		}
	}
	if owned.Link == nil {
		return nil
	}
	link, err := c.link.LinkByName(owned.Link.ContainerName())
	if err != nil {
		return fmt.Errorf("look for %s in %s: %w", owned.Link.ContainerName(), c.Path, err)
	}
	if err := c.setSysctls(owned.Sysctls); err != nil {
		return err
	}
	if owned.DetectDuplicates {
		return c.probe(link, owned)
	}
	return c.address(link, owned, unix.IFA_F_NODAD)
}

// address gives a link its addresses and routes and brings it up. The flags
// are for IPv6 addresses: the ledger gave them to nobody else on a link that
// is ours alone, and detection would keep them tentative for one to two seconds.
func (c *Container) address(link netlink.Link, owned wire.Owned, flags int) error {
	if err := c.addAddresses(link, owned.Addresses, flags); err != nil {
		return err
	}
	if owned.Link.Up() {
		if err := c.link.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring %s up in %s: %w", link.Attrs().Name, c.Path, err)
		}
	}
	return c.addRoutes(link, owned.Routes)
}

func (c *Container) addAddresses(link netlink.Link, addresses []wire.Address, flags int) error {
	for _, a := range addresses {
		addr := &netlink.Addr{IPNet: ipNet(a.Prefix)}
		if a.Prefix.Addr().Is6() {
			addr.Flags = flags
		}
		if err := c.link.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a.Prefix, link.Attrs().Name, err)
		}
	}
	return nil
}

// Interface is what the kernel says of a link at the moment.
type Interface struct {
	Name string
	MAC  net.HardwareAddr
	MTU  int
}

// Describe reads a link of the host.
func (h *Host) Describe(name string) (Interface, error) { return describe(h.link, name) }

// Describe reads a link of the container.
func (c *Container) Describe(name string) (Interface, error) { return describe(c.link, name) }

func describe(handle *netlink.Handle, name string) (Interface, error) {
	link, err := handle.LinkByName(name)
	if err != nil {
		return Interface{}, fmt.Errorf("look for %s: %w", name, err)
	}
	attrs := link.Attrs()
	return Interface{Name: attrs.Name, MAC: attrs.HardwareAddr, MTU: attrs.MTU}, nil
}

// Global lists the host's links with their addresses of global scope.
func (h *Host) Global() (map[string][]netip.Prefix, []Interface, error) {
	links, err := h.link.LinkList()
	if err != nil {
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	addrs, err := h.link.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, fmt.Errorf("list addresses: %w", err)
	}
	var interfaces []Interface
	byName := map[string][]netip.Prefix{}
	for _, link := range links {
		attrs := link.Attrs()
		interfaces = append(interfaces, Interface{Name: attrs.Name, MAC: attrs.HardwareAddr, MTU: attrs.MTU})
		for _, a := range addrs {
			if a.LinkIndex == attrs.Index && a.Scope == int(netlink.SCOPE_UNIVERSE) {
				byName[attrs.Name] = append(byName[attrs.Name], prefixOf(a.IPNet))
			}
		}
	}
	return byName, interfaces, nil
}
