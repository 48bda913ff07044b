package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

const (
	progressEvery = 30 * time.Second
	// Where a cluster has more than crowd nodes, those that lost the stream
	// together come back spread over relistSpread.
	crowd        = 100
	relistSpread = 2 * time.Second
)

// errRelist: the stream can't go on from where it was; a complete list can.
var errRelist = errors.New("the stream of changes has a gap")

// errDoubt: it may be another store's.
var errDoubt = fmt.Errorf("%w: the connection is another one, or the store is less far than it was", errRelist)

// Watch follows what all nodes agree on.
func (s *Store) Watch(ctx context.Context, yield func(store.View)) error {
	return s.watch(ctx, nil, yield)
}

// Watch goes on from what was read when the session was opened.
func (n *session) Watch(ctx context.Context, yield func(store.View)) error {
	return n.store.watch(ctx, n.takeRead(), yield)
}

// watch follows the changes of a list, or if it is nil of a new one.
func (s *Store) watch(ctx context.Context, list *agreement, yield func(store.View)) error {
	var a agreement
	for {
		err := s.follow(ctx, list, &a, yield)
		list = nil
		if !errors.Is(err, errRelist) {
			return err
		}
		s.log.Info("listing again", "reason", err, "revision", a.revision)
		if err := rest(ctx, len(a.nodes)); err != nil {
			return err
		}
	}
}

// rest keeps many nodes from listing at the same moment.
func rest(ctx context.Context, nodes int) error {
	if nodes <= crowd {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(relistSpread)):
		return nil
	}
}

// follow lists everything, unless it was, and goes on with the changes after
// that.
func (s *Store) follow(ctx context.Context, list, a *agreement, yield func(store.View)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := s.trust()
	if list == nil {
		if list, err = s.list(ctx); err != nil {
			return err
		}
	}
	if list.revision < a.revision {
		return &store.RevertedError{Have: store.Revision(list.revision), Seen: store.Revision(a.revision)}
	}
	changed, view := !list.same(a), list.first()
	*a = *list
	a.early = nil // it would be kept for as long as nothing is listed again
	if changed {
		yield(view)
	}
	client, err := s.connection()
	if err != nil {
		return err
	}
	return s.stream(ctx, client, a, t, yield)
}

// stream applies changes until there can be no more. One watch has networks
// and nodes, a second one the configuration; both are on one stream.
func (s *Store) stream(ctx context.Context, client *clientv3.Client, a *agreement, t trust, yield func(store.View)) error {
	ctx = clientv3.WithRequireLeader(ctx)
	after := clientv3.WithRev(a.revision + 1)
	records := client.Watch(ctx, s.key(netDir), clientv3.WithRange(s.key(afterNodes)), after)
	config := client.Watch(ctx, s.key(configKey), after)
	ask := time.NewTicker(s.progress)
	defer ask.Stop()
	for {
		var err error
		changed := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case response, open := <-records:
			changed, err = s.take(ctx, a, response, open)
		case response, open := <-config:
			changed, err = s.take(ctx, a, response, open)
		case <-t.gone:
			err = errDoubt
		case <-ask.C:
			_ = client.RequestProgress(ctx) // an answer comes on the stream, or the stream ends
		}
		if err == nil && t.broken() {
			err = errDoubt
		}
		if err != nil {
			return err
		}
		if changed {
			yield(a.view())
		}
	}
}

// take applies one response of the stream.
func (s *Store) take(ctx context.Context, a *agreement, r clientv3.WatchResponse, open bool) (changed bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if !open {
		return false, errRelist
	}
	switch err := r.Err(); {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrNoLeader):
		return false, fmt.Errorf("%w: %w", errRelist, err)
	case err != nil:
		return false, s.failed("watch", err)
	}
	if r.Header.Revision < a.revision && r.IsProgressNotify() {
		return false, &store.RevertedError{Have: store.Revision(r.Header.Revision), Seen: store.Revision(a.revision)}
	}
	for _, event := range r.Events {
		changed = a.apply(s, event.Kv, event.Type == clientv3.EventTypeDelete) || changed
	}
	a.revision = max(a.revision, r.Header.Revision)
	s.heard(r.Header.Revision, 0)
	return changed, nil
}

// list reads everything at one revision.
func (s *Store) list(ctx context.Context) (*agreement, error) {
	response, err := s.read(ctx, "list", s.everything()...)
	if err != nil {
		return nil, err
	}
	return s.agreed(response), nil
}

// everything is what an agreement is made of: the first operations of a read.
func (s *Store) everything() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(s.key(configKey)), clientv3.OpGet(s.key(netDir), clientv3.WithRange(s.key(afterNodes)))}
}

// agreed decodes what was read; much of it on two processors, because a host waits
// for it to join.
func (s *Store) agreed(response *clientv3.TxnResponse) *agreement {
	const many = 256
	kvs := slices.Concat(found(response, 0), found(response, 1))
	a := newAgreement(response.Header.Revision, len(kvs))
	if len(kvs) <= many {
		a.applyAll(s, kvs)
		return a
	}
	half := len(kvs) / 2
	rest := newAgreement(a.revision, half)
	var decoding sync.WaitGroup
	decoding.Go(func() { rest.applyAll(s, kvs[half:]) })
	a.applyAll(s, kvs[:half])
	decoding.Wait()
	a.join(rest)
	return a
}
