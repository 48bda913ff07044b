package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// ownership is the value of a pool's key.
type ownership struct {
	Schema int          `json:"schema,omitempty"`
	Owner  store.NodeID `json:"owner"`
	Epoch  int64        `json:"epoch"`
}

// A market is what a claim is decided on.
type market struct {
	node    stored[store.Node]
	network stored[store.Network]
	taken   []netip.Prefix // by whomever
	// preferred is the claim of the pool that was asked for by name, if somebody
	// has it.
	preferred []store.Claim
}

// Claim gets a pool that is free. The first candidate is the preferred one, or
// one computed from the node's ID, so that nodes that start together ask for
// different ones; after a conflict it is any free one by chance.
func (n *session) Claim(ctx context.Context, r store.ClaimRequest) (store.Claim, error) {
	var claim store.Claim
	attempt, bound := 0, 1
	for ; attempt < bound; attempt++ {
		m, err := n.market(ctx, r)
		if err != nil {
			return claim, err
		}
		if len(m.preferred) > 0 && m.preferred[0].Owner == n.id {
			return m.preferred[0], nil
		}
		free := m.free(r.Is4)
		pool, ok := free.pick(n.id, r.Prefer, attempt)
		if !ok {
			return claim, n.exhausted(ctx, m, r.Is4)
		}
		// Each conflict is a pool that somebody else got, or a change of the own
		// record or the network: there can't be many more than free pools.
		bound = max(bound, min(free.count, maxPools)+maxAttempts)
		claim, err = n.take(ctx, m, pool)
		if !errors.Is(err, store.ErrConflict) {
			return claim, err
		}
	}
	return claim, fmt.Errorf("claim a pool of network %s: %w %d times", r.Network, store.ErrConflict, attempt)
}

// market reads of the pools only which are taken: a thousand hosts that claim at
// once read a thousand pools each, and again after each conflict.
func (n *session) market(ctx context.Context, r store.ClaimRequest) (*market, error) {
	s := n.store
	ops := []clientv3.Op{clientv3.OpGet(s.netKey(r.Network)), clientv3.OpGet(s.poolsKey(r.Network), clientv3.WithPrefix(), clientv3.WithKeysOnly())}
	if r.Prefer.IsValid() {
		ops = append(ops, clientv3.OpGet(s.poolKey(r.Network, r.Prefer)))
	}
	response, node, err := n.record(ctx, ops...)
	if err != nil {
		return nil, err
	}
	m := &market{node: node}
	if m.network, err = first[store.Network](response, 1); err != nil {
		return nil, err
	}
	if !m.network.exists() {
		return nil, fmt.Errorf("network %s: %w in the store", r.Network, store.ErrNotFound)
	}
	for _, kv := range found(response, 2) {
		_, pool, err := s.parsePoolKey(string(kv.Key))
		if err != nil {
			s.log.Warn("skipped a pool", "error", err)
			continue
		}
		m.taken = append(m.taken, pool)
	}
	if r.Prefer.IsValid() {
		m.preferred = s.readClaims(found(response, 3))
	}
	return m, nil
}

// take enters the claim if everything is as it was when it was read.
func (n *session) take(ctx context.Context, m *market, pool netip.Prefix) (store.Claim, error) {
	network, record := m.network.value.Name, m.node.value
	record.Pools = maps.Clone(record.Pools)
	if record.Pools == nil {
		record.Pools = map[string][]netip.Prefix{}
	}
	record.Pools[network] = append(slices.Clone(record.Pools[network]), pool)
	key := n.store.poolKey(network, pool)
	response, err := n.store.transact(ctx, "claim pool "+pool.String(),
		[]clientv3.Cmp{unchanged(key, 0), unchanged(n.store.nodeKey(n.id), m.node.rev), unchanged(n.store.netKey(network), m.network.rev)},
		[]clientv3.Op{put(key, ownership{Owner: n.id, Epoch: record.Epoch}), put(n.store.nodeKey(n.id), record)}, nil)
	if err != nil {
		return store.Claim{}, err
	}
	if !response.Succeeded {
		return store.Claim{}, store.ErrConflict
	}
	record.Revision = store.Revision(response.Header.Revision)
	n.setSelf(record)
	return store.Claim{Network: network, Pool: pool, Owner: n.id, Epoch: record.Epoch, Token: store.Revision(response.Header.Revision)}, nil
}

// Pools lists claims.
func (s *Store) Pools(ctx context.Context, network string) ([]store.Claim, error) {
	dir := s.key(poolDir)
	if network != "" {
		dir = s.poolsKey(network)
	}
	response, err := s.read(ctx, "list pools", all(dir))
	if err != nil {
		return nil, err
	}
	return s.readClaims(found(response, 0)), nil
}

// readClaims leaves out what can't be read, except that an unreadable owner
// still owns: the key is the ownership.
func (s *Store) readClaims(kvs []*mvccpb.KeyValue) []store.Claim {
	claims := make([]store.Claim, 0, len(kvs))
	for _, kv := range kvs {
		network, pool, err := s.parsePoolKey(string(kv.Key))
		if err != nil {
			s.log.Warn("skipped a pool", "error", err)
			continue
		}
		var o ownership
		if err := decode(kv.Value, &o); err != nil {
			s.log.Warn("pool has an owner that can't be read", "key", string(kv.Key), "error", err)
		}
		claims = append(claims, store.Claim{Network: network, Pool: pool, Owner: o.Owner, Epoch: o.Epoch, Token: store.Revision(kv.CreateRevision)})
	}
	return claims
}

// maxPools is up to how many pools a network's are counted one by one.
const maxPools = 1 << 16

// A choice is the free pools of a network.
type choice struct {
	pools []ipam.Pool
	taken map[netip.Prefix]bool
	size  int // of all pools
	count int // of the free ones
}

func (m *market) free(is4 bool) choice {
	c := choice{taken: map[netip.Prefix]bool{}}
	for _, r := range m.network.value.Ranges {
		if r.Addr().Is4() != is4 {
			continue
		}
		pool := ipam.Pool{Prefix: r, Bits: m.network.value.PoolBits(is4)}
		c.pools = append(c.pools, pool)
		c.size += min(pool.Size(), maxPools)
	}
	for _, pool := range m.taken {
		if pool.Addr().Is4() == is4 {
			c.taken[pool] = true
		}
	}
	c.count = max(0, c.size-len(c.taken))
	return c
}

// at gives the pool of that number over all ranges.
func (c choice) at(i int) netip.Prefix {
	for _, pool := range c.pools {
		if size := min(pool.Size(), maxPools); i >= size {
			i -= size
			continue
		}
		return pool.At(i)
	}
	return netip.Prefix{}
}

// pick chooses a free pool; false if there is none.
func (c choice) pick(id store.NodeID, prefer netip.Prefix, attempt int) (netip.Prefix, bool) {
	if c.size == 0 {
		return netip.Prefix{}, false
	}
	if attempt == 0 && prefer.IsValid() && !c.taken[prefer] && c.has(prefer) {
		return prefer, true
	}
	if attempt == 0 {
		return c.from(int(hash(id) % uint64(c.size)))
	}
	return c.random()
}

func (c choice) has(p netip.Prefix) bool {
	return slices.ContainsFunc(c.pools, func(pool ipam.Pool) bool {
		return pool.Bits == p.Bits() && pool.Prefix.Contains(p.Addr()) && p == p.Masked()
	})
}

// from is the first free pool from number i on.
func (c choice) from(i int) (netip.Prefix, bool) {
	for range c.size {
		if pool := c.at(i); !c.taken[pool] {
			return pool, true
		}
		i = (i + 1) % c.size
	}
	return netip.Prefix{}, false
}

// random is any free pool, each as likely as another.
func (c choice) random() (netip.Prefix, bool) {
	var found netip.Prefix
	seen := 0
	for i := range c.size {
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

func hash(id store.NodeID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// exhausted says who has the pools.
func (n *session) exhausted(ctx context.Context, m *market, is4 bool) error {
	c, network := m.free(is4), m.network.value
	result := &store.ExhaustedError{Network: network.Name, Ranges: network.Ranges, Pools: c.size, Owners: map[string]int{}}
	response, err := n.store.read(ctx, "list owners", all(n.store.key(nodeDir)), all(n.store.key(liveDir)), all(n.store.poolsKey(network.Name)))
	if err != nil {
		return errors.Join(result, err)
	}
	names, live := n.store.namesOf(response)
	dead := map[string]bool{}
	for _, claim := range n.store.readClaims(found(response, 2)) {
		name := cmp.Or(names[claim.Owner], string(claim.Owner), "an unreadable owner")
		result.Owners[name]++
		dead[name] = !live[claim.Owner]
	}
	for name, isDead := range dead {
		if isDead {
			result.Dead = append(result.Dead, name)
		}
	}
	slices.Sort(result.Dead)
	return result
}

// namesOf reads nodes (the first answer) and who of them is alive (the second).
func (s *Store) namesOf(response *clientv3.TxnResponse) (names map[store.NodeID]string, live map[store.NodeID]bool) {
	names, live = map[store.NodeID]string{}, map[store.NodeID]bool{}
	for _, kv := range found(response, 0) {
		var node struct { // of a store.Node
			Schema int          `json:"schema"`
			ID     store.NodeID `json:"id"`
			Name   string       `json:"name"`
		}
		if decode(kv.Value, &node) == nil {
			names[node.ID] = cmp.Or(node.Name, string(node.ID))
		}
	}
	for _, l := range s.readLive(found(response, 1)) {
		live[l.ID] = true
	}
	return names, live
}
