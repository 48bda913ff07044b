package kernel

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// loopback is the index of lo in every namespace, LOOPBACK_IFINDEX of
// linux/net.h.
const loopback = 1

// LoopbackUp brings lo up.
func (c *Container) LoopbackUp() error {
	replies, err := c.rt.exchange(setUp(loopback, ""))
	if err == nil {
		err = replies[0].err
	}
	if err != nil {
		return fmt.Errorf("bring lo up in %s: %w", c.Path, err)
	}
	return nil
}

// LoopbackDown brings lo down.
func (c *Container) LoopbackDown() error {
	replies, err := c.rt.exchange(setDown(loopback))
	if err == nil {
		err = replies[0].err
	}
	if err != nil {
		return fmt.Errorf("bring lo down in %s: %w", c.Path, err)
	}
	return nil
}

// LoopbackCheck returns an error if lo is down.
func (c *Container) LoopbackCheck() error {
	lo, err := c.rt.look("lo")
	if err != nil {
		return fmt.Errorf("in %s: %w", c.Path, err)
	}
	if !lo[0].up() {
		return fmt.Errorf("lo in %s is down", c.Path)
	}
	return nil
}

// LoopbackAddresses lists lo's addresses, IPv4 first.
func (c *Container) LoopbackAddresses() ([]netip.Prefix, error) {
	addresses, err := c.rt.addresses(loopback)
	if err != nil {
		return nil, fmt.Errorf("list addresses of lo in %s: %w", c.Path, err)
	}
	slices.SortStableFunc(addresses, func(a, b netip.Prefix) int { return cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()) })
	return addresses, nil
}
