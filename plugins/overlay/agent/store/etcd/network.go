package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A register is all networks, at one revision.
type register struct {
	revision int64
	networks []store.Network
}

func (s *Store) networks(ctx context.Context) (*register, error) {
	response, err := s.read(ctx, "list networks", all(s.key(netDir)))
	if err != nil {
		return nil, err
	}
	r := &register{revision: response.Header.Revision}
	for _, kv := range found(response, 0) {
		var n store.Network
		if err := decode(kv.Value, &n); err != nil {
			// Its ranges are unknown, so nobody can say what is free beside it.
			return nil, fmt.Errorf("etcd: value of %s: %w", kv.Key, err)
		}
		n.Revision = store.Revision(kv.ModRevision)
		r.networks = append(r.networks, n)
	}
	return r, nil
}

// collision tells what of a network somebody else has.
func (r *register) collision(n store.Network) error {
	for _, other := range r.networks {
		if other.Name == n.Name {
			continue
		}
		if n.Group != 0 && other.Group == n.Group {
			return &store.TakenError{What: fmt.Sprintf("group %d", n.Group), Holder: "network " + other.Name}
		}
		for _, mine := range n.Ranges {
			if i := slices.IndexFunc(other.Ranges, mine.Overlaps); i >= 0 {
				return &store.TakenError{What: fmt.Sprintf("range %s (it overlaps with %s)", mine, other.Ranges[i]), Holder: "network " + other.Name}
			}
		}
	}
	return nil
}

// freeGroup is the lowest that no network has.
func (r *register) freeGroup() (uint16, error) {
	for group := uint16(1); group != 0; group++ {
		if !slices.ContainsFunc(r.networks, func(n store.Network) bool { return n.Group == group }) {
			return group, nil
		}
	}
	return 0, fmt.Errorf("all 65535 group IDs are taken: remove a network")
}

// CreateNetwork enters a network.
func (s *Store) CreateNetwork(ctx context.Context, n store.Network) (store.Network, error) {
	if err := n.Check(); err != nil {
		return n, err
	}
	n.Schema = store.Schema
	if n.Created.IsZero() {
		n.Created = time.Now().UTC().Truncate(time.Second)
	}
	asked := n.Group
	err := retry(ctx, "create network "+n.Name, func() (bool, error) {
		r, err := s.networks(ctx)
		if err != nil {
			return false, err
		}
		if i := slices.IndexFunc(r.networks, func(o store.Network) bool { return o.Name == n.Name }); i >= 0 {
			return false, &store.TakenError{What: "network name " + n.Name, Holder: fmt.Sprintf("a network with the ranges %v", r.networks[i].Ranges)}
		}
		if n.Group = asked; asked == 0 {
			if n.Group, err = r.freeGroup(); err != nil {
				return false, err
			}
		}
		if err := r.collision(n); err != nil {
			return false, err
		}
		return s.enter(ctx, r, &n, unchanged(s.netKey(n.Name), 0), unchanged(s.groupKey(n.Group), 0))
	})
	return n, err
}

// enter writes a network, provided that no other changed since they were read.
func (s *Store) enter(ctx context.Context, r *register, n *store.Network, compare ...clientv3.Cmp) (bool, error) {
	compare = append(compare, quiet(s.key(netDir), r.revision))
	response, err := s.transact(ctx, "write network "+n.Name, compare,
		[]clientv3.Op{put(s.netKey(n.Name), *n), put(s.groupKey(n.Group), groupOf{Network: n.Name})}, nil)
	if err != nil || !response.Succeeded {
		return false, err
	}
	n.Revision = store.Revision(response.Header.Revision)
	return true, nil
}

// groupOf is the value of a group's key.
type groupOf struct {
	Network string `json:"network"`
}

// UpdateNetwork replaces a network as it was read.
func (s *Store) UpdateNetwork(ctx context.Context, n store.Network) (store.Network, error) {
	if err := n.Check(); err != nil {
		return n, err
	}
	n.Schema = store.Schema
	seen := n.Revision
	err := retry(ctx, "update network "+n.Name, func() (bool, error) {
		r, err := s.networks(ctx)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(r.networks, func(o store.Network) bool { return o.Name == n.Name })
		if i < 0 {
			return false, fmt.Errorf("network %s: %w in the store", n.Name, store.ErrNotFound)
		}
		if old := r.networks[i]; old.Revision != seen || old.Group != n.Group {
			return false, fmt.Errorf("network %s: %w", n.Name, store.ErrConflict)
		}
		if err := r.collision(n); err != nil {
			return false, err
		}
		pools, err := s.Pools(ctx, n.Name)
		if err != nil {
			return false, err
		}
		if err := s.homeless(ctx, n, pools); err != nil {
			return false, err
		}
		return s.enter(ctx, r, &n, unchanged(s.netKey(n.Name), int64(seen)), quiet(s.poolsKey(n.Name), r.revision))
	})
	return n, err
}

// homeless refuses a change that leaves a pool outside of the network.
func (s *Store) homeless(ctx context.Context, n store.Network, pools []store.Claim) error {
	for _, c := range pools {
		if !n.Has(c.Pool) {
			return &store.TakenError{What: fmt.Sprintf("pool %s of network %s", c.Pool, n.Name), Holder: "node " + s.ownerNames(ctx, []store.Claim{c})[0],
				Hint: "ranges can be added, and taken away when nobody has a pool of them"}
		}
	}
	return nil
}

// RemoveNetwork takes a network away that nobody uses.
func (s *Store) RemoveNetwork(ctx context.Context, name string) error {
	return retry(ctx, "remove network "+name, func() (bool, error) {
		response, err := s.read(ctx, "read network "+name, clientv3.OpGet(s.netKey(name)), all(s.poolsKey(name)))
		if err != nil {
			return false, err
		}
		n, err := first[store.Network](response, 0)
		if err != nil {
			return false, err
		}
		if !n.exists() {
			return false, fmt.Errorf("network %s: %w in the store", name, store.ErrNotFound)
		}
		if pools := s.readClaims(found(response, 1)); len(pools) > 0 {
			return false, &store.InUseError{Network: name, Owners: s.ownerNames(ctx, pools)}
		}
		done, err := s.transact(ctx, "remove network "+name,
			[]clientv3.Cmp{unchanged(s.netKey(name), n.rev), none(s.poolsKey(name))},
			[]clientv3.Op{clientv3.OpDelete(s.netKey(name)), clientv3.OpDelete(s.groupKey(n.value.Group))}, nil)
		return err == nil && done.Succeeded, err
	})
}

// ownerNames names the owners of claims, each once; very many are named by ID.
func (s *Store) ownerNames(ctx context.Context, claims []store.Claim) []string {
	var ids []store.NodeID
	for _, c := range claims {
		ids = append(ids, c.Owner)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	names, _ := s.namesOf(ctx, ids[:min(len(ids), named)])
	var result []string
	for _, id := range ids {
		result = append(result, cmp.Or(names[id], string(id)))
	}
	slices.Sort(result)
	return slices.Compact(result)
}
