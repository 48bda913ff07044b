package etcd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// ownership is the value of a pool's key.
type ownership struct {
	Schema int          `json:"schema,omitempty"`
	Owner  store.NodeID `json:"owner"`
	Epoch  int64        `json:"epoch"`
}

// A market is what a claim is decided on: all of it was read, and it is compared
// with what is there when the claim is entered.
type market struct {
	request store.ClaimRequest
	node    stored[store.Node]
	network stored[store.Network]
	pools   *choice
	// owners are all pools of the network as they are written, where it was looked
	// everywhere.
	owners []*mvccpb.KeyValue
	// preferred is the claim of the pool that was asked for by name, if somebody
	// has it.
	preferred []store.Claim
}

// Claim gets a pool that is free. Nodes that come together ask for different
// ones, each without having looked whether it is free, and look only where they
// are refused: the transaction that enters a claim reads, if it can't be entered,
// what the next one is decided on.
func (n *session) Claim(ctx context.Context, r store.ClaimRequest) (store.Claim, error) {
	m := &market{request: r}
	err := n.lookAround(ctx, m, nowhere)
	for attempt := 0; err == nil; attempt++ {
		if claim, had, err := n.unanswered(ctx, m); had || err != nil {
			return claim, err
		}
		pool, ok := m.pools.pick(n.id, r.Prefer)
		switch {
		case !ok && m.pools.seen == everywhere:
			return store.Claim{}, n.exhausted(ctx, m)
		case attempt > m.pools.size+maxAttempts:
			// Each conflict is a pool that somebody else got, or a change of the own
			// record or the network: there can't be many more than pools.
			return store.Claim{}, fmt.Errorf("claim a pool of network %s: %w %d times", r.Network, store.ErrConflict, attempt)
		case !ok:
			err = n.lookAround(ctx, m, m.pools.elsewhere())
			continue
		}
		claim, entered, err := n.take(ctx, m, pool)
		if entered || err != nil {
			return claim, err
		}
	}
	return store.Claim{}, err
}

// take enters the claim if everything is as it was when it was read. If not, the
// market is read again.
func (n *session) take(ctx context.Context, m *market, pool netip.Prefix) (claim store.Claim, entered bool, err error) {
	network := m.request.Network
	record := with(m.node.value, network, pool)
	key, where := n.store.poolKey(network, pool), m.pools.elsewhere()
	if where == everywhere && m.pools.size > glance {
		where = nowhere // etcd carries out one such transaction after the other, and what only reads beside them
	}
	response, err := n.store.transact(ctx, "claim pool "+pool.String(),
		[]clientv3.Cmp{unchanged(key, 0), unchanged(n.store.nodeKey(n.id), m.node.rev), unchanged(n.store.netKey(network), m.network.rev)},
		[]clientv3.Op{put(key, ownership{Owner: n.id, Epoch: record.Epoch}), put(n.store.nodeKey(n.id), record)}, n.around(m, where))
	if err != nil {
		return claim, false, err
	}
	if !response.Succeeded {
		return claim, false, n.see(m, response, where)
	}
	record.Revision = store.Revision(response.Header.Revision)
	n.setSelf(record)
	return store.Claim{Network: network, Pool: pool, Owner: n.id, Epoch: record.Epoch, Token: store.Revision(response.Header.Revision)}, true, nil
}

// lookAround reads the market, and which of some pools are taken.
func (n *session) lookAround(ctx context.Context, m *market, where span) error {
	response, err := n.store.read(ctx, "read what a claim of network "+m.request.Network+" depends on", n.around(m, where)...)
	if err != nil {
		return err
	}
	return n.see(m, response, where)
}

// around is what lookAround reads.
func (n *session) around(m *market, where span) []clientv3.Op {
	s, r := n.store, m.request
	ops := []clientv3.Op{clientv3.OpGet(s.nodeKey(n.id)), clientv3.OpGet(s.netKey(r.Network))}
	if r.Prefer.IsValid() {
		ops = append(ops, clientv3.OpGet(s.poolKey(r.Network, r.Prefer)))
	}
	if where != nowhere {
		ops = append(ops, s.look(m.pools, where))
	}
	return ops
}

// see takes over what was read around.
func (n *session) see(m *market, response *clientv3.TxnResponse, where span) (err error) {
	before := m.network.rev
	if m.node, err = first[store.Node](response, 0); err != nil {
		return err
	}
	if !m.node.exists() {
		return fmt.Errorf("record of node %s: %w: it left, or was reclaimed", n.id, store.ErrNotFound)
	}
	if m.network, err = first[store.Network](response, 1); err != nil {
		return err
	}
	if !m.network.exists() {
		return fmt.Errorf("network %s: %w in the store", m.request.Network, store.ErrNotFound)
	}
	next := 2
	if m.request.Prefer.IsValid() {
		m.preferred = n.store.readClaims(found(response, next))
		next++
	}
	if m.network.rev != before { // of other ranges what was looked at says nothing
		m.pools, where = newChoice(m.network.value, m.request.Is4), nowhere
	}
	var taken []netip.Prefix
	if where != nowhere {
		taken = n.store.takenPools(found(response, next))
	}
	if where == everywhere {
		m.owners = found(response, next)
	}
	m.pools.see(where, taken)
	for _, c := range m.preferred {
		m.pools.taken[c.Pool] = true
	}
	return nil
}

// unanswered is a claim that this node has already and this session does not know
// of, because the answer to it was lost: what is asked for again is not claimed
// twice. It tells likewise that the node has the pool which it prefers.
func (n *session) unanswered(ctx context.Context, m *market) (store.Claim, bool, error) {
	network, known := m.request.Network, n.Self().Pools
	for _, c := range m.preferred {
		if c.Owner == n.id {
			n.know(c)
			return c, true, nil
		}
	}
	for _, pool := range m.node.value.Pools[network] {
		if pool.Addr().Is4() != m.request.Is4 || slices.Contains(known[network], pool) {
			continue
		}
		response, err := n.store.read(ctx, "read who owns pool "+pool.String(), clientv3.OpGet(n.store.poolKey(network, pool)))
		if err != nil {
			return store.Claim{}, false, err
		}
		for _, c := range n.store.readClaims(found(response, 0)) {
			if c.Owner == n.id && c.Epoch == m.node.value.Epoch {
				n.know(c)
				return c, true, nil
			}
		}
	}
	return store.Claim{}, false, nil
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

// takenPools are those whose keys were read.
func (s *Store) takenPools(kvs []*mvccpb.KeyValue) []netip.Prefix {
	pools := make([]netip.Prefix, 0, len(kvs))
	for _, kv := range kvs {
		_, pool, err := s.parsePoolKey(string(kv.Key))
		if err != nil {
			s.log.Warn("skipped a pool", "error", err)
			continue
		}
		pools = append(pools, pool)
	}
	return pools
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
