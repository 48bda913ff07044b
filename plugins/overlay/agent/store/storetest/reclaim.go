package storetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// absence waits until a node is absent.
func absence(t *testing.T, s store.Store, id store.NodeID) store.Absence {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		all, err := s.Absent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(a store.Absence) bool { return a.ID == id }); i >= 0 {
			return all[i]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not absent: %+v", id, all)
		}
	}
}

func reclaims(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	pool := list[0].claim(t, "tiny", netip.Prefix{})
	if absent, err := list[1].Store.Absent(t.Context()); err != nil || len(absent) != 0 {
		t.Errorf("with both alive absent are %+v, %v", absent, err)
	}
	v := Await(t, list[1].Store, "node-1 has a pool", func(v store.View) bool { return count(v, "tiny") == 1 })
	record, _ := v.Node("node-1")
	seen := store.Absence{ID: "node-1", Record: record.Revision, Session: record.Revision}
	if _, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a node that is alive was reclaimed: %v", err)
	}
	if err := list[0].Session.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	seen = absence(t, list[1].Store, "node-1")
	older := seen
	older.Record--
	if _, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: older}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a node that changed was reclaimed: %v", err)
	}
	tomb, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen, Reason: "gone for good"})
	if err != nil {
		t.Fatal(err)
	}
	read, err := list[0].Store.Tombstone(t.Context(), "node-1")
	if err != nil || read.Reason != "gone for good" || read.Epoch != 1 || !slices.Equal(read.Pools["tiny"], []netip.Prefix{pool.Pool}) || read.Revision != tomb.Revision {
		t.Errorf("the tombstone is %+v, %v; want %+v", read, err, tomb)
	}
	if _, err := list[0].Session.Update(t.Context(), list[0].Node, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a reclaimed node wrote its record: %v", err)
	}
	// Its address and its pool are free.
	other := list[1].Node
	other.ID, other.Name, other.VTEP = "node-3", "node-3", list[0].Node.VTEP
	heir, err := list[0].Store.Session(t.Context(), store.Registration{Node: other, Boot: "b"})
	if err != nil {
		t.Fatalf("the address of a reclaimed node is not free: %v", err)
	}
	defer heir.Close(context.Background(), false)
	if c, err := heir.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true, Prefer: pool.Pool}); err != nil || c.Pool != pool.Pool {
		t.Errorf("the pool of a reclaimed node is not free: %+v, %v", c, err)
	}
}

// absences: a node that was back for a moment, even without a change of its
// record, is absent anew; what was seen before does not count any more.
func absences(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	list[0].claim(t, "tiny", netip.Prefix{})
	if err := list[0].Session.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	before := absence(t, list[1].Store, "node-1")
	if again := absence(t, list[1].Store, "node-1"); again != before {
		t.Errorf("one absence is %+v and %+v", before, again)
	}
	back, err := list[0].Store.Session(t.Context(), store.Registration{Node: list[0].Node, Boot: "boot-2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	after := absence(t, list[1].Store, "node-1")
	if after == before || after.Record != before.Record {
		t.Errorf("before it was back the absence was %+v, now %+v: want another, with the same record", before, after)
	}
	if _, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: before}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a node that was back was reclaimed: %v", err)
	}
	if _, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: after}); err != nil {
		t.Error(err)
	}
}

// pauses: of two reclamations with a pause the second has to wait, one by hand
// does not.
func pauses(t *testing.T, world World) {
	list := members(t, world, 4, Tiny())
	seen := map[store.NodeID]store.Absence{}
	for _, m := range list[:3] {
		if err := m.Session.Close(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		seen[m.Node.ID] = absence(t, list[3].Store, m.Node.ID)
	}
	const pause = 2 * time.Second
	start := time.Now()
	if _, err := list[3].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen["node-1"], Pause: pause}); err != nil {
		t.Fatal(err)
	}
	_, err := list[2].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen["node-2"], Pause: pause})
	if late := time.Since(start); !errors.Is(err, store.ErrPaused) && late < pause {
		t.Errorf("%v after the first a second node was reclaimed: %v", late, err)
	}
	if _, err := list[3].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen["node-3"]}); err != nil {
		t.Errorf("by hand: %v", err)
	}
	for deadline := time.Now().Add(Patience); err != nil; time.Sleep(50 * time.Millisecond) {
		if _, err = list[2].Store.Reclaim(t.Context(), store.Reclamation{Absence: seen["node-2"], Pause: pause}); err != nil && time.Now().After(deadline) {
			t.Fatalf("after the pause: %v", err)
		}
	}
}

// returns: a node that was reclaimed meanwhile is told, and begins anew; once.
func returns(t *testing.T, world World) {
	list := members(t, world, 2, Tiny())
	old := list[0].claim(t, "tiny", netip.Prefix{})
	if e := list[0].Session.Entry(); e.Tombstone != nil || len(e.Owned) != 0 || e.Cluster == "" {
		t.Errorf("the first entry is %+v", e)
	}
	if err := list[0].Session.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := list[1].Store.Reclaim(t.Context(), store.Reclamation{Absence: absence(t, list[1].Store, "node-1"), Reason: "gone for good"}); err != nil {
		t.Fatal(err)
	}
	r := store.Registration{Node: list[0].Node, Boot: "b", Needs: needOne("tiny", old.Pool)}
	back, err := list[0].Store.Session(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	e := back.Entry()
	if e.Tombstone == nil || e.Tombstone.Reason != "gone for good" || back.Self().Epoch != 2 {
		t.Errorf("the reclaimed node came back in epoch %d and was told %+v", back.Self().Epoch, e.Tombstone)
	}
	if len(e.Owned) != 1 || e.Owned[0].Pool != old.Pool || e.Owned[0].Token <= old.Token || e.Owned[0].Epoch != 2 {
		t.Errorf("it claimed %+v; it had %+v", e.Owned, old)
	}
	if err := back.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Node.Epoch = 3
	again, err := list[0].Store.Session(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background(), false)
	if again.Entry().Tombstone != nil {
		t.Errorf("a node that left by itself is told %+v", again.Entry().Tombstone)
	}
	if pruned, err := list[1].Store.PruneTombstones(t.Context(), time.Now().Add(-time.Hour)); err != nil || len(pruned) != 0 {
		t.Errorf("a fresh tombstone was pruned: %+v, %v", pruned, err)
	}
	if pruned, err := list[1].Store.PruneTombstones(t.Context(), time.Now().Add(time.Hour)); err != nil || len(pruned) != 1 || pruned[0].ID != "node-1" {
		t.Errorf("pruned were %+v, %v", pruned, err)
	}
	if _, err := list[1].Store.Tombstone(t.Context(), "node-1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after that the tombstone is %v", err)
	}
}
