package etcd

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// holding compares with a claim still being the one that was made.
func (s *Store) holding(c store.Claim) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.poolKey(c.Network, c.Pool)), "=", int64(c.Token))
}

// Update replaces the node's record.
func (n *session) Update(ctx context.Context, record store.Node, owned []store.Claim) (store.Node, error) {
	if err := n.checkUpdate(record, owned); err != nil {
		return store.Node{}, err
	}
	record.Schema, record.ID = store.Schema, n.id
	err := retry(ctx, "update node "+record.Name, func() (bool, error) { return n.update(ctx, &record, owned) })
	if err == nil {
		n.setSelf(record)
	}
	return record, err
}

func (n *session) checkUpdate(record store.Node, owned []store.Claim) error {
	if err := record.Check(); err != nil {
		return err
	}
	for network, pools := range record.Pools {
		for _, pool := range pools {
			if !slices.ContainsFunc(owned, func(c store.Claim) bool { return c.Network == network && c.Pool == pool }) {
				return &store.LostPoolError{Lost: []store.Claim{{Network: network, Pool: pool, Owner: n.id}}}
			}
		}
	}
	return nil
}

func (n *session) update(ctx context.Context, record *store.Node, owned []store.Claim) (done bool, err error) {
	var more []clientv3.Op
	for _, a := range record.VTEP {
		more = append(more, clientv3.OpGet(n.store.vtepKey(a)))
	}
	for _, c := range owned {
		more = append(more, clientv3.OpGet(n.store.poolKey(c.Network, c.Pool), clientv3.WithKeysOnly()))
	}
	response, node, err := n.record(ctx, more...)
	if err != nil {
		return false, err
	}
	if err := lostOf(response, 1+len(record.VTEP), owned); err != nil {
		return false, err
	}
	vteps, err := owners(response, 1, record.VTEP)
	if err != nil {
		return false, err
	}
	if err := vtepsFree(vteps, n.id, func(id store.NodeID) string { return n.store.nameOf(ctx, id) }); err != nil {
		return false, err
	}
	if lists, pool := n.more(node.value, record); lists {
		return false, fmt.Errorf("record of node %s lists pool %s, of a claim whose answer was lost: %w", n.id, pool, store.ErrConflict)
	}
	if record.Equal(node.value) {
		record.Revision = store.Revision(node.rev)
		return true, nil
	}
	return n.replace(ctx, record, node, owned, vteps)
}

// more tells whether the record in the store lists a pool that neither this
// session knows of nor the one that is to replace it: the pool would belong to a
// node that does not say so. Owned gets to know it.
func (n *session) more(have store.Node, record *store.Node) (bool, netip.Prefix) {
	known := n.Self().Pools
	for network, pools := range have.Pools {
		for _, pool := range pools {
			if !slices.Contains(known[network], pool) && !slices.Contains(record.Pools[network], pool) {
				return true, pool
			}
		}
	}
	return false, netip.Prefix{}
}

// nameOf asks the store what people call a node; where it does not say, it is
// the ID.
func (s *Store) nameOf(ctx context.Context, id store.NodeID) string {
	response, err := s.read(ctx, "read who is "+string(id), clientv3.OpGet(s.nodeKey(id)))
	if err != nil {
		return string(id)
	}
	holder, _ := first[store.Node](response, 0)
	return nameOf(holder.value, id)
}

// lostOf compares the claims with the keys that were read, from answer number
// from on.
func lostOf(response *clientv3.TxnResponse, from int, owned []store.Claim) error {
	var lost store.LostPoolError
	for i, c := range owned {
		kvs := found(response, from+i)
		if len(kvs) == 0 || kvs[0].CreateRevision != int64(c.Token) {
			lost.Lost = append(lost.Lost, c)
		}
	}
	if len(lost.Lost) > 0 {
		return &lost
	}
	return nil
}

func (n *session) replace(ctx context.Context, record *store.Node, node stored[store.Node], owned []store.Claim, vteps map[netip.Addr]stored[owner]) (bool, error) {
	depends, then := n.store.moveVTEPs(n.id, node.value.VTEP, record.VTEP, vteps, false)
	compare := []clientv3.Cmp{n.alive(), unchanged(n.store.nodeKey(n.id), node.rev)}
	for _, d := range depends {
		compare = append(compare, unchanged(d.key, d.rev))
	}
	for _, c := range owned {
		compare = append(compare, n.store.holding(c))
	}
	then = append(then, put(n.store.nodeKey(n.id), *record))
	response, err := n.store.transact(ctx, "update node "+record.Name, compare, then, nil)
	if err != nil || !response.Succeeded {
		return false, err
	}
	record.Revision = store.Revision(response.Header.Revision)
	return true, nil
}

// Release gives one pool back.
func (n *session) Release(ctx context.Context, c store.Claim) error {
	return retry(ctx, "release pool "+c.Pool.String(), func() (bool, error) {
		response, node, err := n.record(ctx, clientv3.OpGet(n.store.poolKey(c.Network, c.Pool), clientv3.WithKeysOnly()))
		if err != nil {
			return false, err
		}
		if lostOf(response, 1, []store.Claim{c}) != nil {
			return true, nil // it is gone, or somebody else's by now
		}
		key, record := n.store.nodeKey(n.id), without(node.value, c)
		done, err := n.store.transact(ctx, "release pool "+c.Pool.String(),
			[]clientv3.Cmp{unchanged(key, node.rev), n.store.holding(c)},
			[]clientv3.Op{clientv3.OpDelete(n.store.poolKey(c.Network, c.Pool)), put(key, record)}, nil)
		if err != nil || !done.Succeeded {
			return false, err
		}
		record.Revision = store.Revision(done.Header.Revision)
		n.setSelf(record)
		return true, nil
	})
}

// with is the record with one pool more.
func with(record store.Node, network string, pool netip.Prefix) store.Node {
	record.Pools = maps.Clone(record.Pools)
	if record.Pools == nil {
		record.Pools = map[string][]netip.Prefix{}
	}
	record.Pools[network] = append(slices.Clone(record.Pools[network]), pool)
	return record
}

// without is the record with one pool less.
func without(record store.Node, c store.Claim) store.Node {
	record.Pools = maps.Clone(record.Pools)
	record.Pools[c.Network] = slices.DeleteFunc(slices.Clone(record.Pools[c.Network]), func(p netip.Prefix) bool { return p == c.Pool })
	if len(record.Pools[c.Network]) == 0 {
		delete(record.Pools, c.Network)
	}
	return record
}

// Leave gives everything back.
func (n *session) Leave(ctx context.Context) error {
	err := retry(ctx, "leave", func() (bool, error) {
		// A node without a record has nothing; its session ends all the same.
		e, err := n.store.estate(ctx, n.id)
		if err != nil || !e.node.exists() {
			return err == nil, err
		}
		compare, then := e.dissolve(n.store)
		response, err := n.store.transact(ctx, "leave", compare, then, nil)
		return err == nil && response.Succeeded, err
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", n.id, err)
	}
	return n.Close(ctx, false)
}
