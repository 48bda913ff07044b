package etcd

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

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

// pruneAtOnce bounds a transaction: servers take 128 operations by default.
const pruneAtOnce = 64

// PruneTombstones removes old ones. One that can't be read stays.
func (s *Store) PruneTombstones(ctx context.Context, before time.Time) ([]store.Tombstone, error) {
	response, err := s.read(ctx, "list tombstones", all(s.key(tombDir)))
	if err != nil {
		return nil, err
	}
	var old []store.Tombstone
	for _, kv := range found(response, 0) {
		tomb, err := valueOf[store.Tombstone](kv)
		if err != nil {
			s.log.Warn("skipped a tombstone", "error", err)
			continue
		}
		tomb.value.Revision = store.Revision(tomb.rev)
		if tomb.value.Made.Before(before) {
			old = append(old, tomb.value)
		}
	}
	var pruned []store.Tombstone
	for part := range slices.Chunk(old, pruneAtOnce) {
		var compare []clientv3.Cmp
		var then []clientv3.Op
		for _, tomb := range part {
			compare = append(compare, unchanged(s.tombKey(tomb.ID), int64(tomb.Revision)))
			then = append(then, clientv3.OpDelete(s.tombKey(tomb.ID)))
		}
		response, err := s.transact(ctx, "prune tombstones", compare, then, nil)
		if err != nil {
			return pruned, err
		}
		if !response.Succeeded {
			return pruned, fmt.Errorf("prune tombstones: %w", store.ErrConflict)
		}
		pruned = append(pruned, part...)
	}
	return pruned, nil
}
