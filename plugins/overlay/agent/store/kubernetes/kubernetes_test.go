package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/kubernetes"
	"github.com/netctl/netctl/plugins/overlay/agent/store/kubernetes/kubetest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t *testing.T, server *kubetest.Server, node string) *kubernetes.Store {
	t.Helper()
	s, err := kubernetes.Open(t.Context(), kubernetes.Config{
		Kubeconfig: server.Kubeconfig(t), Node: node, Network: "blue", Ranges: storetest.Blue().Ranges, Group: storetest.Blue().Group,
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enter opens a session and publishes the node's pool.
func enter(t *testing.T, s *kubernetes.Store, node store.Node) (store.Session, []store.Claim) {
	t.Helper()
	session, err := s.Session(t.Context(), store.Registration{Node: node, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	claim, err := session.Claim(t.Context(), store.ClaimRequest{Network: "blue", Is4: true})
	if err != nil {
		t.Fatal(err)
	}
	node.Pools = map[string][]netip.Prefix{"blue": {claim.Pool}}
	if _, err := session.Update(t.Context(), node, []store.Claim{claim}); err != nil {
		t.Fatal(err)
	}
	return session, []store.Claim{claim}
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, network store.Network, nodes []store.Node) []store.Store {
		server := kubetest.Start(t)
		var stores []store.Store
		for i, n := range nodes {
			server.SetNode(string(n.ID), fmt.Sprintf("10.100.%d.0/24", i))
			stores = append(stores, open(t, server, string(n.ID)))
		}
		return stores
	})
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config kubernetes.Config
		says   string
	}{
		{"no node", kubernetes.Config{Network: "blue", Ranges: storetest.Blue().Ranges}, "node is empty"},
		{"no ranges", kubernetes.Config{Node: "n", Network: "blue"}, "ranges is empty"},
		{"no such file", kubernetes.Config{Node: "n", Network: "blue", Ranges: storetest.Blue().Ranges, Kubeconfig: "/nowhere"}, "/nowhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := kubernetes.Open(t.Context(), c.config, quiet()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Open says %v, want %q", err, c.says)
			}
		})
	}
}

// TestWaitsForPools: a Node without podCIDRs has no pool yet; that it got one,
// and that it lost it, wakes whoever watches.
func TestWaitsForPools(t *testing.T) {
	server := kubetest.Start(t)
	server.SetNode("node-1")
	s := open(t, server, "node-1")
	node := storetest.Nodes(1)[0]
	session, err := s.Session(t.Context(), store.Registration{Node: node, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	claim := func() (store.Claim, error) {
		return session.Claim(t.Context(), store.ClaimRequest{Network: "blue", Is4: true})
	}
	if _, err := claim(); !errors.Is(err, store.ErrNoPool) {
		t.Fatalf("a claim without podCIDRs gave %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), storetest.Patience)
	defer cancel()
	views := 0
	var got store.Claim
	_ = s.Watch(ctx, func(store.View) {
		views++
		switch {
		case got.Pool.IsValid():
			if owned, err := session.Owned(ctx); err == nil && len(owned) == 0 {
				cancel()
			}
		case views == 1:
			server.SetNode("node-1", "10.100.3.0/24")
		default:
			if got, err = claim(); err == nil {
				server.SetNode("node-1")
			}
		}
	})
	if context.Cause(ctx) != context.Canceled || got.Pool.String() != "10.100.3.0/24" {
		t.Fatalf("%d views; the claim is %+v, %v", views, got, err)
	}
	record := node
	record.Pools = map[string][]netip.Prefix{"blue": {got.Pool}}
	var lost *store.LostPoolError
	if _, err := session.Update(t.Context(), record, []store.Claim{got}); !errors.As(err, &lost) {
		t.Errorf("a pool that was taken away was published: %v", err)
	}
	if text := server.Annotation("node-1", kubernetes.Annotation); text != "" {
		t.Errorf("the annotation is %s", text)
	}
}

// TestOneAnnotation: the record is written once, an equal one not at all, and
// leaving takes it away and nothing else.
func TestOneAnnotation(t *testing.T) {
	server := kubetest.Start(t)
	server.SetNode("node-1", "10.100.1.0/24")
	server.Annotate("node-1", "somebody.else/x", "stays")
	s := open(t, server, "node-1")
	node := storetest.Nodes(1)[0]
	session, claims := enter(t, s, node)
	node.Pools = map[string][]netip.Prefix{"blue": {claims[0].Pool}}
	for range 3 {
		if _, err := session.Update(t.Context(), node, claims); err != nil {
			t.Fatal(err)
		}
	}
	// A restart of the agent.
	again, err := s.Session(t.Context(), store.Registration{Node: node, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Update(t.Context(), node, claims); err != nil {
		t.Fatal(err)
	}
	if n := server.Requests("apply"); n != 1 {
		t.Errorf("the annotation was written %d times, want once", n)
	}
	if err := s.Ready(t.Context()); err != nil || server.Condition("node-1", "NetworkUnavailable") != "False" {
		t.Errorf("ready: %v; the condition is %q", err, server.Condition("node-1", "NetworkUnavailable"))
	}
	if err := session.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if mine, other := server.Annotation("node-1", kubernetes.Annotation), server.Annotation("node-1", "somebody.else/x"); mine != "" || other != "stays" {
		t.Errorf("after leave the annotations are %q and %q", mine, other)
	}
}

// TestWatchFaults: heartbeats cause no view; the loss of the stream, a server
// that was down, an expired version and a deleted Node are all caught up with;
// garbage is reported and affects nobody else.
func TestWatchFaults(t *testing.T) {
	server := kubetest.Start(t)
	nodes := storetest.Nodes(3)
	for i := range nodes {
		server.SetNode(string(nodes[i].ID), fmt.Sprintf("10.100.%d.0/24", i))
	}
	s := open(t, server, "node-1")
	enter(t, s, nodes[0])
	views := make(chan store.View, 64)
	end := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func() { go func() { end <- s.Watch(ctx, func(v store.View) { views <- v }) }() }
	watch()
	await := func(what string, is func(store.View) bool) (v store.View) {
		t.Helper()
		deadline := time.After(2 * storetest.Patience)
		for {
			select {
			case v = <-views:
				if is(v) {
					return v
				}
			case err := <-end:
				if !errors.Is(err, store.ErrUnreachable) {
					t.Fatalf("the watch ended with %v", err)
				}
				time.Sleep(50 * time.Millisecond) // as an agent does
				watch()
			case <-deadline:
				t.Fatalf("no view in which %s", what)
			}
		}
	}
	has := func(id store.NodeID) func(store.View) bool {
		return func(v store.View) bool { _, ok := v.Node(id); return ok }
	}
	await("node-1 is there", has("node-1"))
	for len(views) > 0 {
		<-views
	}
	server.Heartbeat("node-1")
	server.Heartbeat("node-2")
	enter(t, open(t, server, "node-2"), nodes[1])
	if v := <-views; !has("node-2")(v) {
		t.Errorf("a heartbeat caused a view: %+v", v)
	}
	server.Down(true)
	server.Down(false)
	server.Forget()
	enter(t, open(t, server, "node-3"), nodes[2])
	await("node-3 is there", has("node-3"))
	server.DeleteNode("node-2")
	await("node-2 is gone", func(v store.View) bool { return !has("node-2")(v) })
	server.Annotate("node-3", kubernetes.Annotation, "\x00")
	v := await("node-3 is unreadable", func(v store.View) bool { return !has("node-3")(v) })
	if !has("node-1")(v) || !slices.ContainsFunc(v.Skipped, func(s store.Skipped) bool { return s.Key == "node node-3" }) {
		t.Errorf("beside garbage the view is %+v", v)
	}
}

// A list tells how far the cluster is, not the Nodes in it: else one from which
// the newest Node was deleted would seem to be of a cluster that has gone back.
func TestADeletedNodeTakesNoRevisionAway(t *testing.T) {
	server := kubetest.Start(t)
	server.SetNode("node-1", "10.100.0.0/24")
	server.SetNode("node-2", "10.100.1.0/24")
	s := open(t, server, "node-1")
	first := func() (v store.View) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*storetest.Patience)
		defer cancel()
		_ = s.Watch(ctx, func(seen store.View) { v = seen; cancel() })
		return v
	}
	before := first()
	server.DeleteNode("node-2")
	if after := first(); before.Revision == 0 || after.Revision <= before.Revision {
		t.Errorf("revision %d, and after a Node was deleted %d", before.Revision, after.Revision)
	}
}

// TestRefuses: another cluster, a Node that there is not, another's address, a
// server that is down.
func TestRefuses(t *testing.T) {
	server := kubetest.Start(t)
	nodes := storetest.Nodes(2)
	server.SetNode("node-1", "10.100.1.0/24")
	server.SetNode("node-2", "10.100.2.0/24")
	enter(t, open(t, server, "node-1"), nodes[0])
	s := open(t, server, "node-2")
	var wrong *store.ClusterError
	if _, err := s.Session(t.Context(), store.Registration{Node: nodes[1], Cluster: "elsewhere"}); !errors.As(err, &wrong) || wrong.Have != kubetest.Cluster {
		t.Errorf("another cluster: %v", err)
	}
	thief := nodes[1]
	thief.VTEP = nodes[0].VTEP
	var taken *store.TakenError
	if _, err := s.Session(t.Context(), store.Registration{Node: thief}); !errors.As(err, &taken) || taken.Holder != "node-1" {
		t.Errorf("another's address: %v", err)
	}
	if _, err := open(t, server, "nobody").Session(t.Context(), store.Registration{Node: nodes[1]}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a Node that there is not: %v", err)
	}
	server.Down(true)
	if _, err := s.Session(t.Context(), store.Registration{Node: nodes[1]}); !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("a server that is down: %v", err)
	}
}
