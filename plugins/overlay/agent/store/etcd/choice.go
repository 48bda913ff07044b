package etcd

import (
	"encoding/hex"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

const (
	// maxPools is up to how many pools of a range are looked for.
	maxPools = 1 << 16
	// glance is how many pools in a row a node looks at that was not the first to
	// ask for one. A thousand that looked at all thousand of them, each after each
	// refusal, would be all that the store is busy with.
	glance = 64
)

// A choice is a network's pools of one family, and which of them are known to be
// taken.
type choice struct {
	network string
	ranges  []ipam.Pool
	size    int // of all ranges
	taken   map[netip.Prefix]bool
	// seen is where those that are not known to be taken were free when it was
	// read: everywhere, or in a few in a row, or nowhere.
	seen   span
	picked bool // something was asked for
	scarce bool // nothing was free where it was looked
}

// A span is a row of a choice's pools, by their numbers from first to before end,
// all of one range.
type span struct{ first, end int }

var (
	nowhere    = span{}
	everywhere = span{0, -1}
)

func newChoice(n store.Network, is4 bool) *choice {
	c := &choice{network: n.Name, taken: map[netip.Prefix]bool{}}
	for _, r := range n.Ranges {
		if r.Addr().Is4() == is4 {
			pool := ipam.Pool{Prefix: r, Bits: n.PoolBits(is4)}
			c.ranges = append(c.ranges, pool)
			c.size += sizeOf(pool)
		}
	}
	return c
}

func sizeOf(p ipam.Pool) int { return min(p.Size(), maxPools) }

// at gives the pool of that number over all ranges.
func (c *choice) at(i int) netip.Prefix {
	for _, pool := range c.ranges {
		if size := sizeOf(pool); i >= size {
			i -= size
			continue
		}
		return pool.At(i)
	}
	return netip.Prefix{}
}

// see notes which pools are taken of those that were looked at.
func (c *choice) see(where span, taken []netip.Prefix) {
	if c.seen = where; where == everywhere {
		clear(c.taken) // some may have been given back
	}
	for _, pool := range taken {
		c.taken[pool] = true
	}
	if _, free := c.random(); !free && where != nowhere {
		c.scarce = true
	}
}

// pick chooses a pool to ask for: the one that is preferred, else one of those
// that were seen to be free. The first time, if it is not known to be taken, it is
// one computed from the node's ID, so that nodes that come together ask for
// different ones.
func (c *choice) pick(id store.NodeID, prefer netip.Prefix) (netip.Prefix, bool) {
	if c.size == 0 {
		return netip.Prefix{}, false
	}
	first, own := !c.picked, c.at(int(hash(id)%uint64(c.size)))
	c.picked = true
	switch {
	case prefer.IsValid() && !c.taken[prefer] && c.has(prefer):
		return prefer, true
	case first && !c.taken[own]:
		return own, true
	}
	return c.random()
}

func (c *choice) has(p netip.Prefix) bool {
	return slices.ContainsFunc(c.ranges, func(pool ipam.Pool) bool {
		return pool.Bits == p.Bits() && pool.Prefix.Contains(p.Addr()) && p == p.Masked()
	})
}

// random is any free pool of those that were seen, each as likely as another.
func (c *choice) random() (netip.Prefix, bool) {
	first, end := c.seen.first, c.seen.end
	if c.seen == everywhere {
		end = c.size
	}
	var found netip.Prefix
	seen := 0
	for i := first; i < end; i++ {
		pool := c.at(i)
		if c.taken[pool] {
			continue
		}
		if seen++; rand.IntN(seen) == 0 {
			found = pool
		}
	}
	return found, seen > 0
}

// elsewhere is where to look after a refusal: somewhere by chance, or everywhere
// if there are few pools or few free ones.
func (c *choice) elsewhere() span {
	if c.size <= glance || c.scarce {
		return everywhere
	}
	i, before := rand.IntN(c.size), 0
	for _, pool := range c.ranges {
		size := sizeOf(pool)
		if i < before+size {
			return span{i, min(i+glance, before+size)}
		}
		before += size
	}
	return everywhere
}

// look reads which pools of a span are taken; of all also by whom.
func (s *Store) look(c *choice, where span) clientv3.Op {
	dir := s.poolsKey(c.network)
	if where == everywhere {
		return all(dir)
	}
	// The keys of a range are in the order of its addresses. What follows an
	// address in a key is "-" and a length, and '.' is the character after '-'.
	first, last := c.at(where.first).Addr(), c.at(where.end-1).Addr()
	return clientv3.OpGet(dir+hex.EncodeToString(first.AsSlice()), clientv3.WithRange(dir+hex.EncodeToString(last.AsSlice())+"."), clientv3.WithKeysOnly())
}

func hash(id store.NodeID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
