package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// A watcher follows a store in the background and keeps the last view.
type watcher struct {
	views chan store.View
	end   chan error
}

func watch(t *testing.T, s store.Store) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{views: make(chan store.View, 64), end: make(chan error, 1)}
	go func() { w.end <- s.Watch(ctx, func(v store.View) { w.views <- v }) }()
	t.Cleanup(cancel)
	return w
}

// await takes views until one is what is waited for.
func (w *watcher) await(t *testing.T, what string, is func(store.View) bool) store.View {
	t.Helper()
	deadline := time.After(storetest.Patience)
	for {
		select {
		case v := <-w.views:
			if is(v) {
				return v
			}
		case err := <-w.end:
			t.Fatalf("the watch ended with %v before %s", err, what)
		case <-deadline:
			t.Fatalf("no view in which %s", what)
		}
	}
}

func has(id store.NodeID) func(store.View) bool {
	return func(v store.View) bool { _, ok := v.Node(id); return ok }
}

// enter lets a node in over a store.
func enter(t *testing.T, s store.Store, n store.Node, r store.Registration) store.Session {
	t.Helper()
	r.Node, r.Boot = n, "boot-"+string(n.ID)
	session, err := s.Session(t.Context(), r)
	if err != nil {
		t.Fatalf("session of %s: %v", n.ID, err)
	}
	t.Cleanup(func() { _ = session.Close(context.Background(), false) })
	return session
}

// TestServerDown: calls say that the store can't be reached, and what was
// missed is known once it is back, in spite of a compaction meanwhile.
func TestServerDown(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	far := open(t, server.Path(t), 0)
	path := server.Path(t)
	near := open(t, path, 0)
	nodes := storetest.Nodes(2)
	w := watch(t, near)
	enter(t, near, nodes[0], store.Registration{})
	w.await(t, "node-1 is there", has("node-1"))

	path.Cut()
	if _, err := near.Alive(t.Context()); !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), path.Endpoint()) {
		t.Errorf("a call without a server says %v", err)
	}
	enter(t, far, nodes[1], store.Registration{})
	client := server.Client(t)
	defer client.Close()
	answer, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), answer.Header.Revision); err != nil {
		t.Fatal(err)
	}
	path.Heal()
	w.await(t, "node-2 is there", has("node-2"))
}

// TestHalfOpen: a connection on which nothing passes, in neither direction and
// without an end, is noticed by its own probe.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	far := open(t, server.Path(t), 0)
	path := server.Path(t)
	near := open(t, path, 0)
	nodes := storetest.Nodes(2)
	w := watch(t, near)
	enter(t, near, nodes[0], store.Registration{})
	w.await(t, "node-1 is there", has("node-1"))
	path.Freeze()
	enter(t, far, nodes[1], store.Registration{})
	// The old connection stays frozen; only a new one can bring the news.
	path.Forget()
	w.await(t, "node-2 is there", has("node-2"))
}

// TestExpiry: a session whose holder was stopped for longer than its life is
// lost, the node stays in the views with its pools, and a new session goes on.
func TestExpiry(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	far := open(t, server.Path(t), 0)
	path := server.Path(t)
	near := open(t, path, 1)
	if _, err := far.CreateNetwork(t.Context(), storetest.Tiny()); err != nil {
		t.Fatal(err)
	}
	node := storetest.Nodes(1)[0]
	session := enter(t, near, node, store.Registration{})
	claim, err := session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
	if err != nil {
		t.Fatal(err)
	}
	path.Freeze()
	select {
	case <-session.Lost():
	case <-time.After(storetest.Patience):
		t.Fatal("the session is not lost")
	}
	// The server's clock of the session may run a little longer than the node's.
	for deadline := time.Now().Add(storetest.Patience); ; time.Sleep(20 * time.Millisecond) {
		if alive, err := far.Alive(t.Context()); err == nil && len(alive) == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the session does not expire: %+v, %v", alive, err)
		}
	}
	v := storetest.Await(t, far, "there is a view", func(store.View) bool { return true })
	if n, ok := v.Node(node.ID); !ok || !slices.Equal(n.Pools["tiny"], []netip.Prefix{claim.Pool}) {
		t.Errorf("without a session the node is %+v", n)
	}
	path.Heal()
	if err := session.PutNames(t.Context(), store.Names{Network: "tiny", Container: "c"}); err == nil {
		t.Error("a lost session wrote")
	}
	again := enter(t, near, node, store.Registration{})
	if owned, err := again.Owned(t.Context()); err != nil || !slices.Contains(owned, claim) {
		t.Errorf("after a new session it owns %+v, %v", owned, err)
	}
}

// TestBackup: a store that was put back to a backup is not believed, by the
// stream that was open nor by a new session.
func TestBackup(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	path := server.Path(t)
	s := open(t, path, 0)
	nodes := storetest.Nodes(2)
	enter(t, s, nodes[0], store.Registration{})

	server.Kill()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(server.DataDir())); err != nil {
		t.Fatal(err)
	}
	server.Run(t)
	session := enter(t, s, nodes[1], store.Registration{})
	s.AskEvery(100 * time.Millisecond)
	w := watch(t, s)
	v := w.await(t, "node-2 is there", has("node-2"))
	_ = session.Close(t.Context(), true)

	server.Kill()
	if err := errors.Join(os.RemoveAll(server.DataDir()), os.CopyFS(server.DataDir(), os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	server.Run(t)
	var back *store.RevertedError
	select {
	case err := <-w.end:
		if !errors.As(err, &back) {
			t.Errorf("the open stream ended with %v", err)
		}
	case <-time.After(storetest.Patience):
		t.Error("the open stream did not notice that the store went back")
	}
	back = nil
	_, err := s.Session(t.Context(), store.Registration{Node: nodes[1], Boot: "b", Cluster: v.Cluster.ID, Seen: v.Revision})
	if !errors.As(err, &back) || back.Seen != v.Revision {
		t.Errorf("a session with a store that went back: %v", err)
	}
}

// TestGarbage: values that can't be read are left out and reported; the other
// nodes are not affected, and nobody writes over them.
func TestGarbage(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	s := open(t, server.Path(t), 0)
	nodes := storetest.Nodes(2)
	if _, err := s.CreateNetwork(t.Context(), storetest.Tiny()); err != nil {
		t.Fatal(err)
	}
	session := enter(t, s, nodes[0], store.Registration{})
	claim, err := session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client(t)
	defer client.Close()
	prefix := "/netctl/v1/" + t.Name()
	garbage := map[string]string{
		"/node/node-2": "\x00\xff", "/node/future": `{"schema":99,"id":"future"}`, "/node/liar": `{"schema":1,"id":"node-1","vtep":["192.0.2.9"]}`,
		"/node/thief": fmt.Sprintf(`{"schema":1,"id":"thief","vtep":["192.0.2.8"],"pools":{"tiny":["0.0.0.0/0","%s"]}}`, claim.Pool),
		"/net/bad":    `{"schema":1,"name":"bad","ranges":["10.0.0.0/99"]}`, "/pool/tiny/zz": "{}", "/live/x": "[", "/dns/tiny/x/y": "]",
		"/net/../../evil": `{"schema":1,"name":"../../evil","ranges":["10.99.0.0/16"],"group":9}`,
		"/dns/tiny/x/z":   `{"schema":1,"network":"other","node":"x","container":"z","own":["db"],"addresses":["10.102.0.9"]}`,
		"/dns/tiny/x/v":   `{"schema":1,"network":"tiny","node":"node-1","container":"v","own":["db"],"addresses":["10.102.0.9"]}`,
		"/dns/tiny/x/w":   `{"schema":1,"network":"tiny","node":"x","container":"w","own":["db"],"addresses":[""]}`,
	}
	for key, value := range garbage {
		if _, err := client.Put(t.Context(), prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	v := storetest.Await(t, s, "there is a view", has("node-1"))
	if n, _ := v.Node("node-1"); !slices.Equal(n.Pools["tiny"], []netip.Prefix{claim.Pool}) {
		t.Errorf("beside garbage node-1 is %+v", n)
	}
	if n, ok := v.Node("thief"); !ok || len(n.Pools) != 0 {
		t.Errorf("a node with others' pools is %+v", n)
	}
	for _, key := range []string{prefix + "/node/node-2", prefix + "/node/future", prefix + "/node/liar", prefix + "/net/bad", prefix + "/net/../../evil", "thief"} {
		if !slices.ContainsFunc(v.Skipped, func(s store.Skipped) bool { return s.Key == key }) {
			t.Errorf("%s is not reported: %+v", key, v.Skipped)
		}
	}
	if _, err := s.Session(t.Context(), store.Registration{Node: nodes[1], Boot: "b"}); err == nil {
		t.Error("node-2 wrote over a record that it can't read")
	}
	if alive, err := s.Alive(t.Context()); err != nil || len(alive) != 1 {
		t.Errorf("beside garbage alive are %+v, %v", alive, err)
	}
	if pools, err := s.Pools(t.Context(), ""); err != nil || len(pools) != 1 {
		t.Errorf("beside garbage claims are %+v, %v", pools, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), storetest.Patience)
	defer cancel()
	err = s.WatchNames(ctx, "tiny", func(all []store.Names) {
		if len(all) > 0 {
			t.Errorf("names of others' networks, of others and without address are taken: %+v", all)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	told, err := s.Audit(t.Context())
	for _, key := range []string{"v", "w", "y", "z"} {
		if err != nil || !slices.ContainsFunc(told, func(s store.Skipped) bool { return s.Key == prefix+"/dns/tiny/x/"+key }) {
			t.Errorf("names %s are not told of: %+v, %v", key, told, err)
		}
	}
}

// TestReclaimRace: an owner that comes back while somebody reclaims its pools
// has all of them or none.
func TestReclaimRace(t *testing.T) {
	t.Parallel()
	s := open(t, etcdtest.Start(t).Path(t), 0)
	if _, err := s.CreateNetwork(t.Context(), storetest.Tiny()); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for range 40 {
		outcomes[raceOnce(t, s)]++
	}
	t.Logf("outcomes: %v", outcomes)
}

func raceOnce(t *testing.T, s *etcd.Store) string {
	t.Helper()
	node := storetest.Nodes(1)[0]
	r := store.Registration{Node: node, Boot: "b"}
	first, err := s.Session(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := first.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close(t.Context(), false)
	absent, err := s.Absent(t.Context())
	if err != nil || len(absent) != 1 {
		t.Fatalf("absent are %+v, %v", absent, err)
	}
	var running sync.WaitGroup
	var back store.Session
	var backErr, reclaimErr error
	running.Go(func() { back, backErr = s.Session(t.Context(), r) })
	running.Go(func() {
		time.Sleep(rand.N(2 * time.Millisecond))
		_, reclaimErr = s.Reclaim(t.Context(), store.Reclamation{Absence: absent[0], Reason: "race"})
	})
	running.Wait()
	if backErr != nil {
		t.Fatalf("the owner can't come back: %v", backErr)
	}
	owned, err := back.Owned(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	has := slices.Contains(owned, claim)
	if reclaimed := reclaimErr == nil; reclaimed == has {
		t.Fatalf("reclaimed: %v (%v); the owner has %+v", reclaimed, reclaimErr, owned)
	}
	if err := back.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has {
		return "the owner came back in time"
	}
	return "reclaimed"
}
