package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LoopbackUp brings lo up.
func (c *Container) LoopbackUp() error {
	lo, err := c.link.LinkByName("lo")
	if err == nil && lo.Attrs().RawFlags&unix.IFF_UP == 0 {
		err = c.link.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo up in %s: %w", c.Path, err)
	}
	return nil
}

// LoopbackDown brings lo down.
func (c *Container) LoopbackDown() error {
	lo, err := c.link.LinkByName("lo")
	if err == nil {
		err = c.link.LinkSetDown(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo down in %s: %w", c.Path, err)
	}
	return nil
}

// LoopbackCheck returns an error if lo is down.
func (c *Container) LoopbackCheck() error {
	lo, err := c.link.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for lo in %s: %w", c.Path, err)
	}
	if lo.Attrs().RawFlags&unix.IFF_UP == 0 {
		return fmt.Errorf("lo in %s is down", c.Path)
	}
	return nil
}

// LoopbackAddresses lists lo's addresses, IPv4 first.
func (c *Container) LoopbackAddresses() ([]netip.Prefix, error) {
	lo, err := c.link.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("look for lo in %s: %w", c.Path, err)
	}
	var result []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addresses, err := c.link.AddrList(lo, family)
		if err != nil {
			return nil, fmt.Errorf("list addresses of lo in %s: %w", c.Path, err)
		}
		for _, a := range addresses {
			result = append(result, prefixOf(a.IPNet))
		}
	}
	return result, nil
}
