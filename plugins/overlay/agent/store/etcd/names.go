package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A roll is the names of one network, by key.
type roll map[string]store.Names

// WatchNames follows the names of one network. They are under their nodes'
// leases: those of a node that died go with its session.
func (s *Store) WatchNames(ctx context.Context, network string, yield func([]store.Names)) error {
	for {
		err := s.followNames(ctx, s.namesKey(network)+"/", yield)
		if !errors.Is(err, errRelist) {
			return err
		}
		if err := rest(ctx, crowd+1); err != nil {
			return err
		}
	}
}

func (s *Store) followNames(ctx context.Context, dir string, yield func([]store.Names)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := s.trust()
	response, err := s.read(ctx, "list names", all(dir))
	if err != nil {
		return err
	}
	names := roll{}
	for _, kv := range found(response, 0) {
		names.apply(s, kv, false)
	}
	yield(names.list())
	client, err := s.connection()
	if err != nil {
		return err
	}
	changes := client.Watch(clientv3.WithRequireLeader(ctx), dir, clientv3.WithPrefix(), clientv3.WithRev(response.Header.Revision+1))
	for {
		select {
		case <-t.gone:
			return errRelist
		case r, open := <-changes:
			if t.broken() {
				return errRelist
			}
			if err := names.take(ctx, s, r, open); err != nil {
				return err
			}
			if len(r.Events) > 0 {
				yield(names.list())
			}
		}
	}
}

// take applies one response of the stream.
func (r roll) take(ctx context.Context, s *Store, changes clientv3.WatchResponse, open bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !open {
		return errRelist
	}
	switch err := changes.Err(); {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrNoLeader):
		return errRelist
	case err != nil:
		return s.failed("watch names", err)
	}
	for _, event := range changes.Events {
		r.apply(s, event.Kv, event.Type == clientv3.EventTypeDelete)
	}
	return nil
}

func (r roll) apply(s *Store, kv *mvccpb.KeyValue, deleted bool) {
	key := string(kv.Key)
	if deleted {
		delete(r, key)
		return
	}
	n, err := s.readNames(key, kv.Value)
	if err != nil {
		s.log.Warn("skipped names", "key", key, "error", err) // those before may still be so
		return
	}
	r[key] = n
}

// readNames reads a value, which must be what its key says.
func (s *Store) readNames(key string, raw []byte) (n store.Names, err error) {
	if err := decode(raw, &n); err != nil {
		return n, err
	}
	part := strings.Split(strings.TrimPrefix(key, s.key(namesDir)), "/")
	if len(part) != 3 || part[2] != n.Container {
		return n, fmt.Errorf("the value is container %q's", n.Container)
	}
	return n, n.Check(part[0], store.NodeID(part[1]))
}

func (r roll) list() []store.Names {
	return slices.SortedFunc(maps.Values(r), func(a, b store.Names) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Container, b.Container))
	})
}
