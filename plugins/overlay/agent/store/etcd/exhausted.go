package etcd

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// named is how many owners of an exhausted network are called by their names:
// more than anybody reads.
const named = 32

// exhausted says who has the pools.
func (n *session) exhausted(ctx context.Context, m *market) error {
	network := m.network.value
	result := &store.ExhaustedError{Network: network.Name, Ranges: network.Ranges, Pools: m.pools.size, Owners: map[string]int{}}
	live, err := n.store.alive(ctx)
	if err != nil {
		return errors.Join(result, err)
	}
	count := map[store.NodeID]int{}
	for _, claim := range n.store.readClaims(m.owners) {
		if count[claim.Owner]++; count[claim.Owner] == 1 && !live[claim.Owner] {
			result.AllDead++
		}
	}
	result.All = len(count)
	told := slices.SortedFunc(maps.Keys(count), func(a, b store.NodeID) int { // the dead first
		return cmp.Or(order(live[a], live[b]), cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	told = told[:min(len(told), named)]
	names, err := n.store.namesOf(ctx, told)
	for _, id := range told {
		result.Owners[names[id]] += count[id]
		if !live[id] {
			result.Dead = append(result.Dead, names[id])
		}
	}
	slices.Sort(result.Dead)
	return errors.Join(result, err)
}

// order is false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// alive tells who has a session. One whose value can't be read is one.
func (s *Store) alive(ctx context.Context) (map[store.NodeID]bool, error) {
	response, err := s.read(ctx, "list who is alive", clientv3.OpGet(s.key(liveDir), clientv3.WithPrefix(), clientv3.WithKeysOnly()))
	if err != nil {
		return nil, err
	}
	live := map[store.NodeID]bool{}
	for _, kv := range found(response, 0) {
		live[store.NodeID(kv.Key[len(s.key(liveDir)):])] = true
	}
	return live, nil
}

// namesOf tells what people call some nodes; where that can't be read, it is the
// ID.
func (s *Store) namesOf(ctx context.Context, ids []store.NodeID) (map[store.NodeID]string, error) {
	names, ops := map[store.NodeID]string{}, []clientv3.Op{}
	for _, id := range ids {
		names[id] = cmp.Or(string(id), "an unreadable owner")
		ops = append(ops, clientv3.OpGet(s.nodeKey(id)))
	}
	response, err := s.read(ctx, "read what owners are called", ops...)
	if err != nil {
		return names, err
	}
	for i, id := range ids {
		var node struct { // of a store.Node
			Schema int    `json:"schema"`
			Name   string `json:"name"`
		}
		if kvs := found(response, i); len(kvs) > 0 && decode(kvs[0].Value, &node) == nil {
			names[id] = cmp.Or(node.Name, names[id])
		}
	}
	return names, nil
}
