package store

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Keeping adds to a view what it does not have only because somebody's value
// can't be read (see Skipped), as the view before had it: ignorance is no reason
// to forget a host. With all it adds everything that the one before had, which
// is right while the store itself has gone back in time.
//
// What v says counts more: a pool that it gives to somebody is nobody else's.
// Neither view is changed.
func (v View) Keeping(before View, all bool) View {
	k := keeping{View: v, before: before, all: all, taken: map[netip.Prefix]bool{}}
	if !all && !slices.ContainsFunc(v.Skipped, func(s Skipped) bool { return s.Cluster || s.Node != "" || s.Network != "" }) {
		return v
	}
	k.cluster()
	k.networks()
	k.nodes()
	return k.View
}

type keeping struct {
	View
	before View
	all    bool
	taken  map[netip.Prefix]bool
}

func (k *keeping) skipped(is func(Skipped) bool) bool {
	return k.all || slices.ContainsFunc(k.Skipped, is)
}

func (k *keeping) cluster() {
	if k.Cluster.ID == "" && k.skipped(func(s Skipped) bool { return s.Cluster }) {
		k.Cluster = k.before.Cluster
	}
}

func (k *keeping) networks() {
	k.Networks = slices.Clone(k.Networks)
	for _, n := range k.before.Networks {
		if _, known := k.Network(n.Name); !known && k.skipped(func(s Skipped) bool { return s.Network == n.Name }) {
			k.Networks = append(k.Networks, n)
		}
	}
	slices.SortFunc(k.Networks, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
}

func (k *keeping) nodes() {
	k.Nodes = slices.Clone(k.Nodes)
	place := map[NodeID]int{}
	for i, n := range k.Nodes {
		place[n.ID] = i
		for _, pools := range n.Pools {
			for _, p := range pools {
				k.taken[p] = true
			}
		}
	}
	for _, old := range k.before.Nodes {
		i, known := place[old.ID]
		switch {
		case known:
			k.Nodes[i].Pools = k.pools(k.Nodes[i].Pools, old)
		case k.skipped(func(s Skipped) bool { return s.Node == old.ID }):
			old.Pools = k.pools(nil, old)
			k.Nodes = append(k.Nodes, old)
		}
	}
	slices.SortFunc(k.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
}

// pools are those of a record and those of an earlier one that are nobody's
// now: all of them, or where the record itself or the network can't be read.
func (k *keeping) pools(now map[string][]netip.Prefix, old Node) map[string][]netip.Prefix {
	result := maps.Clone(now)
	if result == nil {
		result = map[string][]netip.Prefix{}
	}
	for network, pools := range old.Pools {
		if !k.skipped(func(s Skipped) bool { return s.Node == old.ID || s.Network == network }) {
			continue
		}
		for _, p := range pools {
			if !k.taken[p] {
				k.taken[p] = true
				result[network] = append(slices.Clone(result[network]), p)
			}
		}
	}
	return result
}
