package storetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Tiny is a network of two pools.
func Tiny() store.Network {
	return store.Network{Schema: store.Schema, Name: "tiny", Ranges: []netip.Prefix{netip.MustParsePrefix("10.102.0.0/23")}}
}

// members makes a world with the network and lets every node in, without a claim.
func members(t *testing.T, world World, n int, network store.Network) []*Member {
	t.Helper()
	nodes := Nodes(n)
	var list []*Member
	for i, s := range world(t, network, nodes) {
		t.Cleanup(func() { _ = s.Close() })
		session, err := s.Session(t.Context(), store.Registration{Node: nodes[i], Boot: "boot-" + string(nodes[i].ID)})
		if err != nil {
			t.Fatalf("session of %s: %v", nodes[i].ID, err)
		}
		t.Cleanup(func() { _ = session.Close(context.Background(), false) })
		list = append(list, &Member{Store: s, Session: session, Node: nodes[i]})
	}
	return list
}

// claim gets a pool or ends the test.
func (m *Member) claim(t *testing.T, network string, prefer netip.Prefix) store.Claim {
	t.Helper()
	c, err := m.Session.Claim(t.Context(), store.ClaimRequest{Network: network, Is4: true, Prefer: prefer})
	if err != nil {
		t.Fatalf("%s claims a pool of %s: %v", m.Node.ID, network, err)
	}
	m.Claims = append(m.Claims, c)
	return c
}

func exhaustion(t *testing.T, world World) {
	list := members(t, world, 3, Tiny())
	list[0].claim(t, "tiny", netip.Prefix{})
	list[1].claim(t, "tiny", netip.Prefix{})
	if err := list[1].Session.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	_, err := list[2].Session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true})
	var full *store.ExhaustedError
	if !errors.As(err, &full) {
		t.Fatalf("the third claim of two pools gave %v", err)
	}
	if full.Pools != 2 || full.Owners["node-1"] != 1 || full.Owners["node-2"] != 1 || !slices.Equal(full.Dead, []string{"node-2"}) {
		t.Errorf("exhaustion is explained as %+v", full)
	}
	if _, err := list[2].Session.Claim(t.Context(), store.ClaimRequest{Network: "nowhere", Is4: true}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a claim of an unknown network gave %v", err)
	}
}

func releases(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	old := list[0].claim(t, "tiny", netip.Prefix{})
	list[0].claim(t, "tiny", netip.Prefix{})
	if err := list[0].Session.Release(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	now := list[1].claim(t, "tiny", old.Pool)
	if now.Pool != old.Pool || now.Token <= old.Token {
		t.Errorf("after its release, %+v was claimed as %+v", old, now)
	}
	// A late repetition of the release must not touch the new owner's claim.
	if err := list[0].Session.Release(t.Context(), old); err != nil {
		t.Errorf("releasing a claim that is gone: %v", err)
	}
	if owned, err := list[1].Session.Owned(t.Context()); err != nil || !slices.Contains(owned, now) {
		t.Errorf("after a late release, the new owner has %+v, %v", owned, err)
	}
	if pools, err := list[0].Store.Pools(t.Context(), "tiny"); err != nil || len(pools) != 2 {
		t.Errorf("claims are %+v, %v", pools, err)
	}
}

func foreignPools(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	mine, theirs := list[0].claim(t, "tiny", netip.Prefix{}), list[1].claim(t, "tiny", netip.Prefix{})
	record := list[0].Node
	record.Pools = map[string][]netip.Prefix{"tiny": {mine.Pool, theirs.Pool}}
	var lost *store.LostPoolError
	if _, err := list[0].Session.Update(t.Context(), record, []store.Claim{mine}); !errors.As(err, &lost) {
		t.Errorf("a pool without a claim was entered: %v", err)
	}
	forged := store.Claim{Network: "tiny", Pool: theirs.Pool, Owner: list[0].Node.ID, Token: mine.Token}
	if _, err := list[0].Session.Update(t.Context(), record, []store.Claim{mine, forged}); !errors.As(err, &lost) || lost.Lost[0].Pool != theirs.Pool {
		t.Errorf("a pool with another's token was entered: %v", err)
	}
	v := Await(t, list[1].Store, "both have a pool", func(v store.View) bool { return count(v, "tiny") == 2 })
	if n, _ := v.Node("node-1"); !slices.Equal(n.Pools["tiny"], []netip.Prefix{mine.Pool}) {
		t.Errorf("the refused record was written: %+v", n)
	}
}

func count(v store.View, network string) int {
	n := 0
	for _, node := range v.Nodes {
		n += len(node.Pools[network])
	}
	return n
}

// needOne asks for a pool of a network if there is none.
func needOne(network string, prefer netip.Prefix) func([]store.Network, []store.Claim) []store.ClaimRequest {
	return func(_ []store.Network, owned []store.Claim) []store.ClaimRequest {
		if slices.ContainsFunc(owned, func(c store.Claim) bool { return c.Network == network }) {
			return nil
		}
		return []store.ClaimRequest{{Network: network, Is4: true, Prefer: prefer}}
	}
}

// entries: what a node needs is claimed as it comes in, and is there when it
// comes back; one that finds nothing free comes in all the same.
func entries(t *testing.T, world World) {
	nodes := Nodes(3)
	stores := world(t, Tiny(), nodes)
	var claims []store.Claim
	for i, s := range stores {
		t.Cleanup(func() { _ = s.Close() })
		session, err := s.Session(t.Context(), store.Registration{Node: nodes[i], Boot: "b", Needs: needOne("tiny", netip.Prefix{})})
		if err != nil {
			t.Fatalf("%s: %v", nodes[i].ID, err)
		}
		t.Cleanup(func() { _ = session.Close(context.Background(), false) })
		e, owned := session.Entry(), []store.Claim(nil)
		if owned, err = session.Owned(t.Context()); err != nil || !slices.Equal(owned, e.Owned) {
			t.Errorf("%s entered with %+v and owns %+v, %v", nodes[i].ID, e.Owned, owned, err)
		}
		if want := min(2-i, 1); len(e.Owned) != max(want, 0) {
			t.Errorf("%s has %+v of two pools", nodes[i].ID, e.Owned)
		}
		claims = append(claims, e.Owned...)
		record := session.Self()
		v := Await(t, stores[0], "it is there", func(v store.View) bool { n, ok := v.Node(nodes[i].ID); return ok && n.Equal(record) })
		if n, _ := v.Node(nodes[i].ID); n.Revision != record.Revision {
			t.Errorf("the record was written at %d, and the session says %d", n.Revision, record.Revision)
		}
		if i != 0 {
			continue
		}
		if err := session.Close(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		again, err := s.Session(t.Context(), store.Registration{Node: nodes[i], Boot: "b", Takeover: session.ID(), Needs: needOne("tiny", netip.Prefix{})})
		if err != nil || !slices.Equal(again.Entry().Owned, e.Owned) {
			t.Fatalf("after a restart it entered with %+v, %v; want %+v", again.Entry().Owned, err, e.Owned)
		}
		t.Cleanup(func() { _ = again.Close(context.Background(), false) })
	}
	if len(claims) == 2 && claims[0].Pool == claims[1].Pool {
		t.Errorf("two nodes have %s", claims[0].Pool)
	}
}

// policies can be changed by who has read them; what every tunnel has can't.
func policies(t *testing.T, world World) {
	m := members(t, world, 1, Tiny())[0]
	any := func(store.View) bool { return true }
	c := Await(t, m.Store, "there is a view", any).Cluster
	if after, above, on := c.ReclaimPolicy(); after != store.DefaultReclaimAfter || above != store.DefaultReclaimAbove || !on {
		t.Errorf("by default the policy is %v, %d, %v", after, above, on)
	}
	c.ReclaimAfter, c.ReclaimAbove = 60, 50
	changed, err := m.Store.UpdateCluster(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if now := Await(t, m.Store, "there is a view", any).Cluster; now != changed || now.ReclaimAfter != 60 || now.ReclaimAbove != 50 {
		t.Errorf("the cluster is %+v, written was %+v", now, changed)
	}
	if _, err := m.Store.UpdateCluster(t.Context(), c); !errors.Is(err, store.ErrConflict) {
		t.Errorf("an older policy was written over a newer one: %v", err)
	}
	moved := changed
	moved.Port = 8472
	if _, err := m.Store.UpdateCluster(t.Context(), moved); err == nil {
		t.Error("the port of every tunnel was changed")
	}
	moved = changed
	moved.ReclaimAbove = 101
	if _, err := m.Store.UpdateCluster(t.Context(), moved); err == nil {
		t.Error("a use of 101 % was entered")
	}
	changed.ReclaimAfter, changed.ReclaimAbove = -1, 0
	if _, err := m.Store.UpdateCluster(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, above, on := Await(t, m.Store, "there is a view", any).Cluster.ReclaimPolicy(); on || above != store.DefaultReclaimAbove {
		t.Errorf("switched off it is on: %v, %d", on, above)
	}
}

func leaves(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	list[0].claim(t, "tiny", netip.Prefix{})
	if err := list[0].Session.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := Await(t, list[1].Store, "there is a view", func(store.View) bool { return true })
	if _, ok := v.Node("node-1"); ok || count(v, "tiny") != 0 {
		t.Errorf("after leave the view is %+v", v)
	}
	if pools, err := list[1].Store.Pools(t.Context(), ""); err != nil || len(pools) != 0 {
		t.Errorf("after leave claims are %+v, %v", pools, err)
	}
	if alive, err := list[1].Store.Alive(t.Context()); err != nil || len(alive) != 1 || alive[0].ID != "node-2" {
		t.Errorf("after leave alive are %+v, %v", alive, err)
	}
	if err := list[1].Store.RemoveNetwork(t.Context(), "tiny"); err != nil {
		t.Errorf("a network without pools can't be removed: %v", err)
	}
}

func names(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	web := store.Names{Network: "tiny", Container: "c1", Own: []string{"web"}, Addresses: []netip.Addr{netip.MustParseAddr("10.102.0.2")}}
	if err := list[0].Session.PutNames(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	gone := web
	gone.Container = "c2"
	if err := errors.Join(list[0].Session.PutNames(t.Context(), gone), list[0].Session.DeleteNames(t.Context(), "tiny", "c2")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var seen [][]store.Names
	err := list[1].Store.WatchNames(ctx, "tiny", func(n []store.Names) {
		seen = append(seen, n)
		if len(seen) == 1 {
			_ = list[0].Session.Close(ctx, false) // with the session go its names
		} else {
			cancel()
		}
	})
	if len(seen) != 2 {
		t.Fatalf("names were seen %d times, want 2: %+v, %v", len(seen), seen, err)
	}
	if got := seen[0]; len(got) != 1 || got[0].Node != "node-1" || got[0].Own[0] != "web" || got[0].Addresses[0] != web.Addresses[0] {
		t.Errorf("names are %+v", got)
	}
	if len(seen[1]) != 0 {
		t.Errorf("names stayed after their session: %+v", seen[1])
	}
	if err := list[0].Session.PutNames(t.Context(), web); err == nil || !strings.Contains(err.Error(), "session is gone") {
		t.Errorf("a closed session published names: %v", err)
	}
}
