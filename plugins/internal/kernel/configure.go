package kernel

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Configure sets up the inside of the container: loopback, the link's
// parameters and addresses, then the routes. It describes the link, made as
// CreateLink said, as it is then.
func (c *Container) Configure(owned wire.Owned, made Made) (Interface, error) {
	if owned.Link == nil {
		if owned.Loopback {
			return Interface{}, c.LoopbackUp()
		}
		return Interface{}, nil
	}
	link := Interface{Name: owned.Link.ContainerName(), index: made.inside}
	if link.index == 0 {
		found, err := c.rt.look(link.Name)
		if err != nil {
			return link, fmt.Errorf("in %s: %w", c.Path, err)
		}
		link = found[0]
	}
	files := slices.DeleteFunc(slices.Clone(owned.Sysctls), func(s wire.Sysctl) bool {
		return setDevconf(link.index, link.Name, s) != nil // address does these
	})
	if err := c.setSysctls(files); err != nil {
		return link, err
	}
	if owned.DetectDuplicates {
		return c.probe(link, owned)
	}
	return c.address(link, owned, unix.IFA_F_NODAD)
}

// address brings lo up, gives a link those of its parameters that netlink can
// set, its addresses and routes, and brings it up, all in one datagram. The
// flags are for IPv6 addresses: the ledger gave them to nobody else on a link
// that is ours alone, and detection would keep them tentative for one to two
// seconds.
func (c *Container) address(link Interface, owned wire.Owned, flags uint32) (Interface, error) {
	index, name := link.index, link.Name
	var steps steps
	if owned.Loopback {
		steps.add(setUp(loopback, ""), "bring lo up in %s", c.Path)
	}
	if owned.Announce { // arp_notify has an effect when the link comes up
		steps.addDevconf(index, name, owned.Sysctls)
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
	if !owned.Announce {
		steps.addDevconf(index, name, owned.Sysctls)
	}
	groups := wire.Multipath(owned.Routes)
	plain := !slices.ContainsFunc(groups, particular)
	if plain { // else in the library's words, one by one
		for _, group := range groups {
			steps.addRoute(index, group[0])
		}
	}
	steps.add(getLinkAt(index), "look for %s in %s", name, c.Path)
	last, err := steps.do(c.rt)
	if err != nil {
		return link, err
	}
	if link, err = last.link(); err != nil || plain {
		return link, err
	}
	return link, c.addRoutes(link.device(), groups)
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
