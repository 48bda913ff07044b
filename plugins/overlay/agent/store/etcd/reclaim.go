package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// An estate is everything durable that belongs to a node.
type estate struct {
	id     store.NodeID
	node   stored[store.Node]
	live   stored[store.Liveness]
	claims []store.Claim
	// pause is the node that was reclaimed a moment ago, if there is one.
	pause stored[owner]
}

func (s *Store) estate(ctx context.Context, id store.NodeID) (*estate, error) {
	response, err := s.read(ctx, "read what node "+string(id)+" has",
		clientv3.OpGet(s.nodeKey(id)), clientv3.OpGet(s.liveKey(id)), all(s.key(poolDir)), clientv3.OpGet(s.key(pauseKey)))
	if err != nil {
		return nil, err
	}
	e := &estate{id: id}
	if e.node, err = first[store.Node](response, 0); err != nil {
		return nil, err
	}
	if e.live, err = first[store.Liveness](response, 1); err != nil {
		return nil, err
	}
	if e.pause, err = first[owner](response, 3); err != nil {
		return nil, err
	}
	e.claims = ownedBy(s.readClaims(found(response, 2)), id)
	return e, nil
}

// dissolve is the transaction that takes all of it away.
func (e *estate) dissolve(s *Store) (compare []clientv3.Cmp, then []clientv3.Op) {
	compare = []clientv3.Cmp{unchanged(s.nodeKey(e.id), e.node.rev)}
	then = []clientv3.Op{clientv3.OpDelete(s.nodeKey(e.id))}
	for _, c := range e.claims {
		compare = append(compare, s.holding(c))
		then = append(then, clientv3.OpDelete(s.poolKey(c.Network, c.Pool)))
	}
	for _, a := range e.node.value.VTEP {
		then = append(then, clientv3.OpDelete(s.vtepKey(a)))
	}
	return compare, then
}

// Reclaim takes everything away from a node that is not alive.
func (s *Store) Reclaim(ctx context.Context, r store.Reclamation) (store.Tombstone, error) {
	e, err := s.estate(ctx, r.ID)
	if err != nil {
		return store.Tombstone{}, err
	}
	if err := e.reclaimable(r); err != nil {
		return store.Tombstone{}, err
	}
	name := nameOf(e.node.value, r.ID)
	tomb := store.Tombstone{Schema: store.Schema, ID: r.ID, Name: name, Epoch: e.node.value.Epoch, Pools: e.node.value.Pools,
		Reason: r.Reason, Made: time.Now().UTC().Truncate(time.Second)}
	compare, then := e.dissolve(s)
	compare = append(compare, unchanged(s.liveKey(r.ID), 0))
	for _, a := range e.node.value.VTEP { // its last session is still the one that was seen
		compare = append(compare, clientv3.Compare(clientv3.ModRevision(s.vtepKey(a)), "<", int64(r.Session)+1))
	}
	then = append(then, put(s.tombKey(r.ID), tomb))
	if r.Pause > 0 {
		lease, err := s.pause(ctx, r.Pause)
		if err != nil {
			return store.Tombstone{}, err
		}
		compare = append(compare, unchanged(s.key(pauseKey), 0))
		then = append(then, put(s.key(pauseKey), owner{ID: r.ID}, clientv3.WithLease(lease)))
	}
	response, err := s.transact(ctx, "reclaim node "+name, compare, then, nil)
	if err != nil {
		return store.Tombstone{}, err
	}
	if !response.Succeeded {
		return store.Tombstone{}, fmt.Errorf("reclaim node %s: it came back or changed: %w", name, store.ErrConflict)
	}
	tomb.Revision = store.Revision(response.Header.Revision)
	return tomb, nil
}

// reclaimable tells why a node can't be reclaimed.
func (e *estate) reclaimable(r store.Reclamation) error {
	name := nameOf(e.node.value, r.ID)
	switch {
	case !e.node.exists():
		return fmt.Errorf("node %s: %w in the store", r.ID, store.ErrNotFound)
	case e.live.exists():
		return fmt.Errorf("node %s is alive: %w", name, store.ErrConflict)
	case store.Revision(e.node.rev) != r.Record:
		return fmt.Errorf("node %s: its record was written at revision %d, and read at %d: %w", name, e.node.rev, r.Record, store.ErrConflict)
	case r.Pause > 0 && e.pause.exists():
		return fmt.Errorf("reclaim node %s: %w: %s", name, store.ErrPaused, e.pause.value.ID)
	}
	return nil
}

// pause is a lease of that length. Nobody keeps it alive: a reclamation that
// fails leaves it to expire.
func (s *Store) pause(ctx context.Context, length time.Duration) (clientv3.LeaseID, error) {
	client, err := s.connection()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	lease, err := client.Grant(ctx, max(1, int64(length/time.Second)))
	if err != nil {
		return 0, s.failed("keep others from reclaiming", err)
	}
	return lease.ID, nil
}
