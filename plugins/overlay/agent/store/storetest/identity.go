package storetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

func identity(t *testing.T, world World) {
	m := members(t, world, 1, Tiny())[0]
	pool := m.claim(t, "tiny", netip.Prefix{})
	again := store.Registration{Node: m.Node, Boot: "boot-node-1"}
	var taken *store.TakenError
	// A copied state directory: the same identity, but not this session.
	for what, r := range map[string]store.Registration{
		"another boot":    {Node: m.Node, Boot: "boot-2", Takeover: m.Session.ID()},
		"another process": again,
	} {
		if _, err := m.Store.Session(t.Context(), r); !errors.As(err, &taken) || taken.Holder != "node-1" {
			t.Errorf("%s opened a session beside the first: %v", what, err)
		}
	}
	// A restart of the agent on the same boot.
	if err := m.Session.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	again.Takeover = m.Session.ID()
	next, err := m.Store.Session(t.Context(), again)
	if err != nil {
		t.Fatalf("a restarted agent can't take its session over: %v", err)
	}
	if next.ID() != m.Session.ID() {
		t.Errorf("the session %s was taken over as %s", m.Session.ID(), next.ID())
	}
	if owned, err := next.Owned(t.Context()); err != nil || !slices.Contains(owned, pool) {
		t.Errorf("after the restart it owns %+v, %v", owned, err)
	}
	if err := next.PutNames(t.Context(), store.Names{Network: "tiny", Container: "c"}); err != nil {
		t.Errorf("a session that was taken over can't write: %v", err)
	}
	// A reboot after a clean end: same identity, same pools.
	if err := next.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	rebooted, err := m.Store.Session(t.Context(), store.Registration{Node: m.Node, Boot: "boot-2"})
	if err != nil {
		t.Fatalf("session after a reboot: %v", err)
	}
	defer rebooted.Close(context.Background(), false)
	if owned, err := rebooted.Owned(t.Context()); err != nil || !slices.Contains(owned, pool) {
		t.Errorf("after the reboot it owns %+v, %v", owned, err)
	}
}

func tunnelAddresses(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	thief := list[1].Node
	thief.ID, thief.Name, thief.VTEP = "node-3", "node-3", list[0].Node.VTEP
	var taken *store.TakenError
	if _, err := list[1].Store.Session(t.Context(), store.Registration{Node: thief, Boot: "b"}); !errors.As(err, &taken) || taken.Holder != "node-1" {
		t.Errorf("a second host came in with the first one's address: %v", err)
	}
	moved := list[1].Node
	moved.VTEP = list[0].Node.VTEP
	if _, err := list[1].Session.Update(t.Context(), moved, nil); !errors.As(err, &taken) || taken.Holder != "node-1" {
		t.Errorf("a host moved to another's address: %v", err)
	}
	// The first one moves away; then its address is free.
	away := list[0].Node
	away.VTEP = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	if _, err := list[0].Session.Update(t.Context(), away, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := list[1].Session.Update(t.Context(), moved, nil); err != nil {
		t.Errorf("an address that was given up is not free: %v", err)
	}
}

func clusters(t *testing.T, world World) {
	m := members(t, world, 1, Tiny())[0]
	other := m.Node
	other.ID, other.Name, other.VTEP = "node-9", "node-9", []netip.Addr{netip.MustParseAddr("192.0.2.9")}
	var wrong *store.ClusterError
	if _, err := m.Store.Session(t.Context(), store.Registration{Node: other, Boot: "b", Cluster: "elsewhere"}); !errors.As(err, &wrong) || wrong.Want != "elsewhere" {
		t.Errorf("a node of another cluster came in: %v", err)
	}
	v := Await(t, m.Store, "there is a view", func(store.View) bool { return true })
	if _, ok := v.Node("node-9"); ok {
		t.Error("the refused node was entered")
	}
	var back *store.RevertedError
	if _, err := m.Store.Session(t.Context(), store.Registration{Node: other, Boot: "b", Cluster: v.Cluster.ID, Seen: v.Revision + 1000}); !errors.As(err, &back) {
		t.Errorf("a store that went back was believed: %v", err)
	}
	s, err := m.Store.Session(t.Context(), store.Registration{Node: other, Boot: "b", Cluster: v.Cluster.ID, Seen: v.Revision + 1000, AcceptReverted: true})
	if err != nil {
		t.Fatalf("a reverted store that the operator accepts: %v", err)
	}
	_ = s.Close(t.Context(), false)
}

func networks(t *testing.T, world World) {
	m := members(t, world, 1, Tiny())[0]
	pool := m.claim(t, "tiny", netip.Prefix{})
	ctx, s := t.Context(), m.Store
	var taken *store.TakenError
	for what, n := range map[string]store.Network{
		"the same name":    {Name: "tiny", Ranges: prefixes("10.103.0.0/16")},
		"an overlap":       {Name: "big", Ranges: prefixes("10.103.0.0/16", "10.102.0.0/16")},
		"somebody's group": {Name: "twin", Ranges: prefixes("10.104.0.0/16"), Group: 1},
	} {
		if _, err := s.CreateNetwork(ctx, n); !errors.As(err, &taken) {
			t.Errorf("%s was entered: %v", what, err)
		}
	}
	if _, err := s.CreateNetwork(ctx, store.Network{Name: "narrow", Ranges: prefixes("10.105.0.0/25")}); err == nil {
		t.Error("a range that holds no pool was entered")
	}
	other, err := s.CreateNetwork(ctx, store.Network{Name: "other", Ranges: prefixes("10.106.0.0/16")})
	if err != nil || other.Group == 0 || other.Revision == 0 {
		t.Fatalf("network other is %+v, %v", other, err)
	}
	grown := other
	grown.Ranges = append(slices.Clone(grown.Ranges), prefixes("10.107.0.0/16")...)
	if grown, err = s.UpdateNetwork(ctx, grown); err != nil || len(grown.Ranges) != 2 {
		t.Errorf("a range could not be added: %+v, %v", grown, err)
	}
	if _, err := s.UpdateNetwork(ctx, other); !errors.Is(err, store.ErrConflict) {
		t.Errorf("an older network was written over a newer one: %v", err)
	}
	v := Await(t, s, "both networks are there", func(v store.View) bool { return len(v.Networks) == 2 })
	tiny, _ := v.Network("tiny")
	tiny.Ranges = prefixes("10.108.0.0/16")
	if _, err := s.UpdateNetwork(ctx, tiny); !errors.As(err, &taken) || taken.Holder != "node node-1" {
		t.Errorf("the range of %s was taken away: %v", pool.Pool, err)
	}
	var used *store.InUseError
	if err := s.RemoveNetwork(ctx, "tiny"); !errors.As(err, &used) || !slices.Equal(used.Owners, []string{"node-1"}) {
		t.Errorf("a network in use was removed: %v", err)
	}
	if err := s.RemoveNetwork(ctx, "other"); err != nil {
		t.Errorf("remove network other: %v", err)
	}
	if err := s.RemoveNetwork(ctx, "other"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("remove network other again: %v", err)
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
