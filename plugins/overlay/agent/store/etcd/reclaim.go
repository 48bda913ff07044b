package etcd

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// An estate is everything durable that belongs to a node.
type estate struct {
	id     store.NodeID
	node   stored[store.Node]
	live   stored[store.Liveness]
	claims []store.Claim
}

func (s *Store) estate(ctx context.Context, id store.NodeID) (*estate, error) {
	response, err := s.read(ctx, "read what node "+string(id)+" has",
		clientv3.OpGet(s.nodeKey(id)), clientv3.OpGet(s.liveKey(id)), all(s.key(poolDir)))
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
	e.claims = ownedBy(s.readClaims(response.Responses[2].GetResponseRange().Kvs), id)
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
func (s *Store) Reclaim(ctx context.Context, id store.NodeID, seen store.Revision, reason string) (store.Tombstone, error) {
	e, err := s.estate(ctx, id)
	if err != nil {
		return store.Tombstone{}, err
	}
	name := nameOf(e.node.value, id)
	switch {
	case !e.node.exists():
		return store.Tombstone{}, fmt.Errorf("node %s: %w in the store", id, store.ErrNotFound)
	case e.live.exists():
		return store.Tombstone{}, fmt.Errorf("node %s is alive: %w", name, store.ErrConflict)
	case store.Revision(e.node.rev) != seen:
		return store.Tombstone{}, fmt.Errorf("node %s: its record was written at revision %d, and read at %d: %w", name, e.node.rev, seen, store.ErrConflict)
	}
	tomb := store.Tombstone{Schema: store.Schema, ID: id, Name: name, Epoch: e.node.value.Epoch, Pools: e.node.value.Pools, Reason: reason}
	compare, then := e.dissolve(s)
	compare = append(compare, unchanged(s.liveKey(id), 0))
	then = append(then, put(s.tombKey(id), tomb))
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

// Tombstone tells what happened to a node.
func (s *Store) Tombstone(ctx context.Context, id store.NodeID) (store.Tombstone, error) {
	response, err := s.read(ctx, "read the tombstone of node "+string(id), clientv3.OpGet(s.tombKey(id)))
	if err != nil {
		return store.Tombstone{}, err
	}
	tomb, err := first[store.Tombstone](response, 0)
	if err == nil && !tomb.exists() {
		err = fmt.Errorf("tombstone of node %s: %w", id, store.ErrNotFound)
	}
	tomb.value.Revision = store.Revision(tomb.rev)
	return tomb.value, err
}

// Alive lists who has a session.
func (s *Store) Alive(ctx context.Context) ([]store.Liveness, error) {
	response, err := s.read(ctx, "list who is alive", all(s.key(liveDir)))
	if err != nil {
		return nil, err
	}
	return s.readLive(response.Responses[0].GetResponseRange().Kvs), nil
}

func (s *Store) readLive(kvs []*mvccpb.KeyValue) []store.Liveness {
	var result []store.Liveness
	for _, kv := range kvs {
		var l store.Liveness
		if err := decode(kv.Value, &l); err != nil {
			s.log.Warn("skipped a session", "key", string(kv.Key), "error", err)
			continue
		}
		result = append(result, l)
	}
	return result
}
