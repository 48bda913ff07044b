package names

import (
	"hash/maphash"
	"maps"
	"net/netip"
)

// shards is a power of two, and one bit of a uint64 each.
const shards = 64

// cow is a map that is cheap to keep old versions of: a copy of the struct is a
// version, and writing to the newest one clones only the shards it touches.
// With 10,000 entries a write copies some 160 of them, once per edit.
type cow[K comparable, V any] struct {
	shard [shards]map[K]V
	// own has a bit for every shard cloned since the last freeze.
	own uint64
}

// freeze ends an edit: the receiver's copies made from now on stay as they are.
func (c *cow[K, V]) freeze() { c.own = 0 }

func (c *cow[K, V]) set(hash uint64, k K, v V) {
	c.writable(hash)[k] = v
}

func (c *cow[K, V]) unset(hash uint64, k K) {
	delete(c.writable(hash), k)
}

func (c *cow[K, V]) writable(hash uint64) map[K]V {
	i := hash % shards
	if c.own&(1<<i) == 0 {
		c.own |= 1 << i
		c.shard[i] = maps.Clone(c.shard[i])
		if c.shard[i] == nil {
			c.shard[i] = make(map[K]V)
		}
	}
	return c.shard[i]
}

// seed is one for the process: versions of a map must agree on the hash.
var seed = maphash.MakeSeed()

// nameMap is a cow keyed by Name.
type nameMap[V any] struct{ cow[Name, V] }

// get takes bytes, so that a question is looked up without a copy.
func (m *nameMap[V]) get(n []byte) V {
	return m.shard[maphash.Bytes(seed, n)%shards][Name(n)]
}

func (m *nameMap[V]) put(n Name, v V) { m.set(maphash.String(seed, string(n)), n, v) }
func (m *nameMap[V]) remove(n Name)   { m.unset(maphash.String(seed, string(n)), n) }
func (m *nameMap[V]) lookup(n Name) V { return m.shard[maphash.String(seed, string(n))%shards][n] }

// addrMap is a cow keyed by address.
type addrMap[V any] struct{ cow[netip.Addr, V] }

// hashAddr spreads a network's addresses, which follow each other, evenly.
func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return uint64(b[15]) + uint64(b[14])*7
}

func (m *addrMap[V]) get(a netip.Addr) V    { return m.shard[hashAddr(a)%shards][a] }
func (m *addrMap[V]) put(a netip.Addr, v V) { m.set(hashAddr(a), a, v) }
func (m *addrMap[V]) remove(a netip.Addr)   { m.unset(hashAddr(a), a) }
