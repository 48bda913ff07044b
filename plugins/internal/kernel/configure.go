package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Configure sets up the inside of the container: loopback, the link's
// parameters and addresses, then the routes.
func (c *Container) Configure(owned wire.Owned) error {
	if owned.Link == nil {
		if owned.Loopback {
			return c.LoopbackUp()
		}
		return nil
	}
	link, err := c.begin(owned)
	if err != nil {
		return err
	}
	files := slices.DeleteFunc(slices.Clone(owned.Sysctls), func(s wire.Sysctl) bool {
		return setDevconf(link.index, link.Name, s) != nil // address does these
	})
	if err := c.setSysctls(files); err != nil {
		return err
	}
	if owned.DetectDuplicates {
		return c.probe(link.device(), owned)
	}
	return c.address(link.device(), owned, unix.IFA_F_NODAD)
}

// begin brings lo up and reads the link.
func (c *Container) begin(owned wire.Owned) (Interface, error) {
	name := owned.Link.ContainerName()
	requests := []*nl.NetlinkRequest{getLink(name)}
	if owned.Loopback {
		requests = append(requests, setUp(loopback, ""))
	}
	replies, err := c.rt.exchange(requests...)
	if err != nil {
		return Interface{}, err
	}
	if owned.Loopback && replies[1].err != nil {
		return Interface{}, fmt.Errorf("bring lo up in %s: %w", c.Path, replies[1].err)
	}
	link, err := replies[0].link()
	if err != nil {
		return link, fmt.Errorf("look for %s in %s: %w", name, c.Path, err)
	}
	return link, nil
}

// address gives a link those of its parameters that netlink can set, its
// addresses and routes, and brings it up. The flags are for IPv6 addresses: the
// ledger gave them to nobody else on a link that is ours alone, and detection
// would keep them tentative for one to two seconds.
func (c *Container) address(link netlink.Link, owned wire.Owned, flags uint32) error {
	index, name := link.Attrs().Index, link.Attrs().Name
	var steps steps
	for _, s := range owned.Sysctls {
		if r := setDevconf(index, name, s); r != nil {
			steps.add(r, "set sysctl %s", s)
		}
	}
	for _, a := range owned.Addresses {
		if a.Prefix.Addr().Is4() {
			steps.add(addAddress(index, a.Prefix, 0), "add address %s to %s", a.Prefix, name)
		} else {
			steps.add(addAddress(index, a.Prefix, flags), "add address %s to %s", a.Prefix, name)
		}
	}
	if owned.Link.Up() {
		steps.add(setUp(index, ""), "bring %s up in %s", name, c.Path)
	}
	if err := steps.do(c.rt); err != nil {
		return err
	}
	return c.addRoutes(link, owned.Routes)
}

// Describe reads links of the host.
func (h *Host) Describe(names ...string) ([]Interface, error) { return h.rt.look(names...) }

// Describe reads links of the container.
func (c *Container) Describe(names ...string) ([]Interface, error) { return c.rt.look(names...) }

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
