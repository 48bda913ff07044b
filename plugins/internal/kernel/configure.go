package kernel

import (
	"errors"
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
	if err := c.addAddresses(link, owned.Addresses); err != nil {
		return err
	}
	if owned.Link.Up() {
		if err := c.link.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring %s up in %s: %w", link.Attrs().Name, c.Path, err)
		}
	}
	return c.addRoutes(link, owned.Routes)
}

// setSysctls writes parameters in the container's namespace.
func (c *Container) setSysctls(sysctls []wire.Sysctl) error {
	if len(sysctls) == 0 {
		return nil
	}
	return c.do(func() error {
		for _, s := range sysctls {
			if err := setSysctl(s); err != nil && !noIPv6(err) {
				return err
			}
		}
		return nil
	})
}

func (c *Container) addAddresses(link netlink.Link, addresses []wire.Address) error {
	for _, a := range addresses {
		addr := &netlink.Addr{IPNet: ipNet(a.Prefix)}
		if a.Prefix.Addr().Is6() {
			// The ledger gave the address to nobody else on this link, and
			// detection would keep it tentative for one to two seconds.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := c.link.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a.Prefix, link.Attrs().Name, err)
		}
	}
	return nil
}

func (c *Container) addRoutes(link netlink.Link, routes []wire.Route) error {
	for _, r := range routes {
		// Appending makes several routes to one destination a multipath route
		// for IPv6, and keeps each with its own metric for IPv4.
		if err := c.link.RouteAppend(routeOf(link, r)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add route to %s via %s: %w", r.To, viaText(r), err)
		}
	}
	return nil
}

func viaText(r wire.Route) string {
	if r.Via.IsValid() {
		return r.Via.String()
	}
	return "the link"
}

func routeOf(link netlink.Link, r wire.Route) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(r.To),
		Gw:        ip(r.Via),
		Priority:  r.Metric,
		Table:     r.Table,
		MTU:       r.MTU,
		AdvMSS:    r.AdvMSS,
		Scope:     netlink.SCOPE_UNIVERSE,
	}
	switch {
	case r.Scope != nil:
		route.Scope = netlink.Scope(*r.Scope)
	case !r.Via.IsValid():
		route.Scope = netlink.SCOPE_LINK
	}
	return route
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
