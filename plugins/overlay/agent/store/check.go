package store

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Check tells what is wrong with a network that somebody wrote.
func (n Network) Check() error {
	if err := CheckName(n.Name); err != nil {
		return err
	}
	if len(n.Ranges) == 0 {
		return fmt.Errorf("network %s: ranges is empty", n.Name)
	}
	for i, r := range n.Ranges {
		if !r.IsValid() || r != r.Masked() {
			return fmt.Errorf("network %s: range %s is not a prefix without host bits", n.Name, r)
		}
		bits := n.PoolBits(r.Addr().Is4())
		if bits < r.Bits() || bits > r.Addr().BitLen()-2 {
			return fmt.Errorf("network %s: a pool of /%d does not fit into the range %s", n.Name, bits, r)
		}
		for _, other := range n.Ranges[:i] {
			if r.Overlaps(other) {
				return fmt.Errorf("network %s: the ranges %s and %s overlap", n.Name, other, r)
			}
		}
	}
	return nil
}

// CheckName tells what is wrong with a network's name. It is a part of file names
// and keys on every host, so whoever may write to the store must not choose where
// they lead. The rule is the CNI specification's for "name" (section 1).
func CheckName(name string) error {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return fmt.Errorf("invalid network name %q: want letters, digits, '_', '.', '-', starting with a letter or digit", name)
		}
	}
	if name == "" {
		return fmt.Errorf("network without a name")
	}
	return nil
}

// Check tells what is wrong with a cluster that somebody wrote.
func (c Cluster) Check() error {
	if c.VNI >= 1<<24 {
		return fmt.Errorf("invalid VNI %d: want 1 to 16777215", c.VNI)
	}
	if c.Port == 1<<16-1 {
		return fmt.Errorf("invalid port %d: probes need the next one", c.Port)
	}
	if c.ReclaimAbove < 0 || c.ReclaimAbove > 100 {
		return fmt.Errorf("policy reclaimAbove: invalid value %d: want a percentage from 1 to 100", c.ReclaimAbove)
	}
	return nil
}

// Around gives the network's range that an address is in. A range around an address
// by which hosts reach each other would cut them off: what comes from there is taken
// for a container's that is not where it belongs.
func (n Network) Around(a netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(n.Ranges, func(r netip.Prefix) bool { return r.Contains(a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return n.Ranges[i], true
}

// Has tells whether a prefix is one of the network's pools.
func (n Network) Has(pool netip.Prefix) bool {
	return pool.IsValid() && pool == pool.Masked() && pool.Bits() == n.PoolBits(pool.Addr().Is4()) &&
		slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Overlaps(pool) && r.Bits() <= pool.Bits() })
}

// Check tells what is wrong with names that a node wrote for a network: they are
// of this network and this node, and lead to containers. That an address is the
// node's own is not asked: the pools that are known here may be older.
func (n Names) Check(network string, node NodeID) error {
	if n.Network != network || n.Node != node {
		return fmt.Errorf("names of container %s: they say that they are of network %q and node %q", n.Container, n.Network, n.Node)
	}
	for _, a := range n.Addresses {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Zone() != "" {
			return fmt.Errorf("names of container %s: address %s is no container's", n.Container, a)
		}
	}
	return nil
}

// Check tells what is wrong with a record that somebody wrote.
func (n Node) Check() error {
	if n.ID == "" {
		return fmt.Errorf("node without an ID")
	}
	if len(n.VTEP) == 0 {
		return fmt.Errorf("node %s: vtep is empty", n.ID)
	}
	for i, a := range n.VTEP {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Zone() != "" {
			return fmt.Errorf("node %s: tunnel address %s is none", n.ID, a)
		}
		if slices.ContainsFunc(n.VTEP[:i], func(o netip.Addr) bool { return o.Is4() == a.Is4() }) {
			return fmt.Errorf("node %s: more than one tunnel address of a family: %v", n.ID, n.VTEP)
		}
	}
	return nil
}

// Assemble makes a View of what was read. A pool that is none of its network's,
// or that an earlier node of the view has, is left out and reported: it would
// draw traffic that belongs to somebody else.
func Assemble(v View) View {
	v.Schema = Schema
	slices.SortFunc(v.Networks, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	owner := map[netip.Prefix]NodeID{}
	for i, node := range v.Nodes {
		var wrong []Skipped
		v.Nodes[i].Pools, wrong = v.sound(node, owner)
		v.Skipped = append(v.Skipped, wrong...)
	}
	slices.SortFunc(v.Skipped, func(a, b Skipped) int { return cmp.Compare(a.Key, b.Key) })
	return v
}

// sound gives the pools of a node that are its own.
func (v View) sound(node Node, owner map[netip.Prefix]NodeID) (pools map[string][]netip.Prefix, wrong []Skipped) {
	pools = map[string][]netip.Prefix{}
	for name, list := range node.Pools {
		network, known := v.Network(name)
		for _, pool := range list {
			switch other, taken := owner[pool]; {
			case !known:
				wrong = append(wrong, Skipped{Key: string(node.ID), Why: fmt.Sprintf("pool %s of network %s, which there is not", pool, name)})
			case !network.Has(pool):
				wrong = append(wrong, Skipped{Key: string(node.ID), Why: fmt.Sprintf("%s is no pool of network %s", pool, name)})
			case taken:
				wrong = append(wrong, Skipped{Key: string(node.ID), Why: fmt.Sprintf("pool %s of network %s is also node %s's", pool, name, other)})
			default:
				owner[pool] = node.ID
				pools[name] = append(pools[name], pool)
			}
		}
	}
	return pools, wrong
}
