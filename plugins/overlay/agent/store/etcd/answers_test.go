package etcd_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// A lossy world is a cluster with network tiny, one of whose nodes asks over a
// proxy that loses answers.
type lossy struct {
	t          *testing.T
	proxy      *etcdtest.Proxy
	near, sure *etcd.Store
	node       store.Node
}

func newLossy(t *testing.T) *lossy {
	t.Helper()
	server := etcdtest.Start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lossy{t: t, proxy: etcdtest.NewProxy(t, server.Socket(), listener), sure: open(t, server.Path(t), 0), node: storetest.Nodes(1)[0]}
	l.near, err = etcd.Open(t.Context(), etcd.Config{Endpoints: []string{"http://" + listener.Addr().String()}, Prefix: "/netctl/v1/" + t.Name()}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.near.Close() })
	if _, err := l.sure.CreateNetwork(t.Context(), storetest.Tiny()); err != nil {
		t.Fatal(err)
	}
	return l
}

// loses runs fn, whose transaction on the pools is carried out and not answered.
func (l *lossy) loses(fn func() error) {
	l.t.Helper()
	var lost atomic.Bool
	l.proxy.Lose(l.enters, func() { lost.Store(true) })
	if err := fn(); !errors.Is(err, store.ErrUnreachable) || !lost.Load() {
		l.t.Fatalf("an answer was lost: %v; it says %v", lost.Load(), err)
	}
}

// again does what a host does then: it tries again, until it is connected.
func again[T any](t *testing.T, fn func() (T, error)) T {
	t.Helper()
	for deadline := time.Now().Add(storetest.Patience); ; {
		result, err := fn()
		if err == nil {
			return result
		}
		if !errors.Is(err, store.ErrUnreachable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// enters tells whether a transaction writes a node's record.
func (l *lossy) enters(r *etcdserverpb.TxnRequest) bool {
	return etcdtest.Puts(r, "/netctl/v1/"+l.t.Name()+"/node/")
}

// owns checks the claims in the store, and that the record lists them.
func (l *lossy) owns(when string, want ...store.Claim) {
	l.t.Helper()
	claims, err := l.sure.Pools(l.t.Context(), "")
	if err != nil {
		l.t.Fatal(err)
	}
	order := func(a, b store.Claim) int { return a.Pool.Addr().Compare(b.Pool.Addr()) }
	want = slices.SortedFunc(slices.Values(want), order)
	if slices.SortFunc(claims, order); !slices.Equal(claims, want) {
		l.t.Errorf("%s the claims are %+v, want %+v", when, claims, want)
	}
	var pools []netip.Prefix
	for _, c := range want {
		pools = append(pools, c.Pool)
	}
	v := storetest.Await(l.t, l.sure, "there is a view", func(store.View) bool { return true })
	n, _ := v.Node(l.node.ID)
	listed := slices.Clone(n.Pools["tiny"])
	if slices.SortFunc(listed, netip.Prefix.Compare); !slices.Equal(listed, pools) {
		l.t.Errorf("%s the record lists %v, want %v", when, n.Pools, pools)
	}
}

// TestAClaimWithoutAnAnswer: a claim that was entered and not answered is what the
// next request gets; a further request gets another pool.
func TestAClaimWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	l := newLossy(t)
	session := enter(t, l.near, l.node, store.Registration{})
	need := store.ClaimRequest{Network: "tiny", Is4: true}
	l.loses(func() error { _, err := session.Claim(t.Context(), need); return err })
	first := again(t, func() (store.Claim, error) { return session.Claim(t.Context(), need) })
	l.owns("after the second request for one pool", first)
	if self := session.Self(); !slices.Equal(self.Pools["tiny"], []netip.Prefix{first.Pool}) {
		t.Errorf("the session knows of %v", self.Pools)
	}
	second, err := session.Claim(t.Context(), need)
	if err != nil {
		t.Fatal(err)
	}
	l.owns("after a request for a second one", first, second)

	// Given back, and not answered.
	l.loses(func() error { return session.Release(t.Context(), second) })
	again(t, func() (store.Claim, error) { return second, session.Release(t.Context(), second) })
	l.owns("after a release", first)
}

// TestARecordKeepsAClaimWithoutAnAnswer: a record is not replaced by one that does
// not know of it. Whoever asks what it owns is told, and goes on.
func TestARecordKeepsAClaimWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	l := newLossy(t)
	session := enter(t, l.near, l.node, store.Registration{})
	l.loses(func() error {
		_, err := session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
		return err
	})
	record := session.Self()
	record.MTU = 1400
	again(t, func() (store.Node, error) {
		n, err := session.Update(t.Context(), record, nil)
		if errors.Is(err, store.ErrConflict) {
			return n, nil
		}
		return n, errors.Join(errors.New("a record without the claim"), err)
	})
	owned, err := session.Owned(t.Context())
	if err != nil || len(owned) != 1 {
		t.Fatalf("it owns %+v, %v", owned, err)
	}
	// What it has been told of is not what it asks for now.
	owned = append(owned, again(t, func() (store.Claim, error) {
		return session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
	}))
	l.owns("after a request for a second one", owned...)
	record.Pools = map[string][]netip.Prefix{"tiny": {owned[0].Pool, owned[1].Pool}}
	if _, err := session.Update(t.Context(), record, owned); err != nil {
		t.Error(err)
	}
	l.owns("after an update", owned...)
}

// TestAnEntryWithoutAnAnswer: a host that has come in and was not told goes on at
// once with the session that it opened, and has the pool that it asked for.
func TestAnEntryWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	l := newLossy(t)
	var opened string
	r := store.Registration{Node: l.node, Boot: "b", Opened: func(id string) { opened = id },
		Needs: func(_ []store.Network, owned []store.Claim) []store.ClaimRequest {
			if len(owned) > 0 {
				return nil
			}
			return []store.ClaimRequest{{Network: "tiny", Is4: true}}
		}}
	ctx, die := context.WithCancel(t.Context()) // and so the session is not ended either
	l.proxy.Lose(l.enters, die)
	if _, err := l.near.Session(ctx, r); err == nil || ctx.Err() == nil {
		t.Fatalf("without an answer it came in, %v", err)
	}
	r.Takeover = opened
	session := again(t, func() (store.Session, error) { return l.near.Session(t.Context(), r) })
	t.Cleanup(func() { _ = session.Close(t.Context(), true) })
	if e := session.Entry(); len(e.Owned) != 1 || session.ID() != opened {
		t.Errorf("it came in as %s with %+v; opened was %s", session.ID(), e.Owned, opened)
	}
	l.owns("after it came in", session.Entry().Owned...)
}
