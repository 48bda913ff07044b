// Package storetest is the contract of package store as a test, which every
// kind of store passes.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Patience bounds every wait; waits are for events.
const Patience = 30 * time.Second

// A World makes one cluster with the given network and nodes, and opens a
// store for each node. A kind that hands pools out makes the network; one where
// somebody else assigns them assigns a /24 of the network's range to each.
type World func(t *testing.T, network store.Network, nodes []store.Node) []store.Store

// Blue is the network that the contract is tested with.
func Blue() store.Network {
	return store.Network{Schema: store.Schema, Name: "blue", Group: 7,
		Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/20")}}
}

// Nodes makes n of them, with tunnel addresses of a documentation range (RFC 5737).
func Nodes(n int) []store.Node {
	var nodes []store.Node
	for i := range n {
		nodes = append(nodes, store.Node{
			Schema: store.Schema, ID: store.NodeID(fmt.Sprintf("node-%d", i+1)), Name: fmt.Sprintf("node-%d", i+1),
			Epoch: 1, VTEP: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}, MTU: 1450,
		})
	}
	return nodes
}

// Run holds a kind of store to the contract.
func Run(t *testing.T, world World) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, World)
	}{
		{"every node gets a pool of its own", distinctPools},
		{"views show every node, completely", completeViews},
		{"an update is seen by others, an equal one by nobody", updates},
		{"what a kind can't do, it says", abilities},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, world) })
	}
}

// RunClaims holds a kind that hands pools out, knows who is alive and keeps
// networks (Abilities) to what only such a kind promises.
func RunClaims(t *testing.T, world World) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, World)
	}{
		{"a full range is explained", exhaustion},
		{"a released pool is somebody else's, and stays so", releases},
		{"one identity, one session", identity},
		{"one owner per tunnel address", tunnelAddresses},
		{"a record names only pools that are owned", foreignPools},
		{"what a node needs is claimed as it enters", entries},
		{"reclaim takes all, from the dead only", reclaims},
		{"an absence ends when the node was back", absences},
		{"reclaiming pauses", pauses},
		{"who was reclaimed is told", returns},
		{"policies can be changed", policies},
		{"leave gives everything back", leaves},
		{"networks exclude one another", networks},
		{"names live as long as their session", names},
		{"another cluster's store is refused", clusters},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, world) })
	}
}

// A Member is a node with its session.
type Member struct {
	Store   store.Store
	Session store.Session
	Node    store.Node
	Claims  []store.Claim
}

// Join opens a session and claims a first pool of the network.
func Join(t *testing.T, s store.Store, n store.Node, network string) *Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	session, err := s.Session(ctx, store.Registration{Node: n, Boot: "boot-" + string(n.ID)})
	if err != nil {
		t.Fatalf("session of %s: %v", n.ID, err)
	}
	t.Cleanup(func() { _ = session.Close(context.Background(), false) })
	claim, err := session.Claim(ctx, store.ClaimRequest{Network: network, Is4: true})
	if err != nil {
		t.Fatalf("%s claims a pool: %v", n.ID, err)
	}
	m := &Member{Store: s, Session: session, Node: n, Claims: []store.Claim{claim}}
	if s.Can().Records {
		record := n
		record.Pools = map[string][]netip.Prefix{network: {claim.Pool}}
		if _, err := session.Update(ctx, record, m.Claims); err != nil {
			t.Fatalf("%s publishes its pool: %v", n.ID, err)
		}
	}
	return m
}

func joinAll(t *testing.T, world World, n int) []*Member {
	t.Helper()
	nodes := Nodes(n)
	var members []*Member
	for i, s := range world(t, Blue(), nodes) {
		t.Cleanup(func() { _ = s.Close() })
		members = append(members, Join(t, s, nodes[i], "blue"))
	}
	return members
}

// Await watches until a view is what is waited for, and returns it.
func Await(t *testing.T, s store.Store, what string, is func(store.View) bool) store.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var last, found store.View
	err := s.Watch(ctx, func(v store.View) {
		last = v
		if is(v) {
			found = v
			cancel()
		}
	})
	if found.Schema == 0 {
		t.Fatalf("no view in which %s; Watch ended with %v, the last view was %+v", what, err, last)
	}
	return found
}

func distinctPools(t *testing.T, world World) {
	seen := map[netip.Prefix]store.NodeID{}
	for _, m := range joinAll(t, world, 3) {
		c := m.Claims[0]
		if other, taken := seen[c.Pool]; taken {
			t.Errorf("%s and %s both got %s", other, m.Node.ID, c.Pool)
		}
		seen[c.Pool] = m.Node.ID
		if c.Owner != m.Node.ID || c.Network != "blue" || c.Pool.Bits() != 24 || !Blue().Ranges[0].Contains(c.Pool.Addr()) {
			t.Errorf("%s got %+v, which is no /24 of network blue of its own", m.Node.ID, c)
		}
		owned, err := m.Session.Owned(t.Context())
		if err != nil || !slices.Contains(owned, c) {
			t.Errorf("%s owns %+v (%v): its claim %+v is not among it", m.Node.ID, owned, err, c)
		}
		again, err := m.Session.Claim(t.Context(), store.ClaimRequest{Network: "blue", Is4: true, Prefer: c.Pool})
		if err != nil || again != c {
			t.Errorf("claiming the same pool again gave %+v, %v; want %+v", again, err, c)
		}
	}
}

func completeViews(t *testing.T, world World) {
	members := joinAll(t, world, 3)
	for _, m := range members {
		v := Await(t, m.Store, "all three have their pools", func(v store.View) bool { return pools(v) == 3 })
		if !slices.IsSortedFunc(v.Nodes, func(a, b store.Node) int { return cmpID(a.ID, b.ID) }) {
			t.Errorf("nodes are not in the order of their IDs: %+v", v.Nodes)
		}
		if n, ok := v.Network("blue"); !ok || n.Group != 7 || !slices.Equal(n.Ranges, Blue().Ranges) {
			t.Errorf("network blue is %+v, %v", n, ok)
		}
		if v.Cluster.ID == "" {
			t.Error("the view names no cluster")
		}
	}
}

func cmpID(a, b store.NodeID) int { return slices.Compare([]byte(a), []byte(b)) }

func pools(v store.View) int {
	n := 0
	for _, node := range v.Nodes {
		n += len(node.Pools["blue"])
	}
	return n
}

func updates(t *testing.T, world World) {
	members := joinAll(t, world, 2)
	a, b := members[0], members[1]
	node := a.Node
	node.Pools = map[string][]netip.Prefix{"blue": {a.Claims[0].Pool}}
	node.MTU = 1400
	written, err := a.Session.Update(t.Context(), node, a.Claims)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	if !a.Store.Can().Records { // somebody else's to write: it stays as it is
		v := Await(t, b.Store, "the node is there", func(v store.View) bool { _, ok := v.Node(node.ID); return ok })
		if n, _ := v.Node(node.ID); n.MTU == 1400 || !n.Equal(written) {
			t.Errorf("the record was to stay as it is and became %+v; Update says %+v", n, written)
		}
		return
	}
	before := Await(t, b.Store, "the MTU is the new one", func(v store.View) bool {
		n, ok := v.Node(node.ID)
		return ok && n.MTU == 1400
	})
	if _, err := a.Session.Update(t.Context(), node, a.Claims); err != nil {
		t.Fatalf("equal update: %v", err)
	}
	after := Await(t, b.Store, "the node is there", func(v store.View) bool { _, ok := v.Node(node.ID); return ok })
	if old, _ := before.Node(node.ID); !old.Equal(node) {
		t.Errorf("the record is %+v, written was %+v", old, node)
	}
	if after.Revision != before.Revision {
		t.Errorf("an equal record was written: revision %d became %d", before.Revision, after.Revision)
	}
}

func abilities(t *testing.T, world World) {
	m := joinAll(t, world, 1)[0]
	can := m.Store.Can()
	check := func(name string, able bool, err error) {
		t.Helper()
		if unsupported := errors.Is(err, store.ErrUnsupported); unsupported == able {
			t.Errorf("%s: able is %v and the answer %v", name, able, err)
		}
	}
	_, err := m.Store.CreateNetwork(t.Context(), store.Network{Schema: store.Schema, Name: "green",
		Ranges: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/20")}})
	check("CreateNetwork", can.Networks, err)
	_, err = m.Store.Alive(t.Context())
	check("Alive", can.Liveness, err)
	_, err = m.Store.Absent(t.Context())
	check("Absent", can.Liveness, err)
	_, err = m.Store.Reclaim(t.Context(), store.Reclamation{Absence: store.Absence{ID: "nobody", Record: 1}, Reason: "test"})
	check("Reclaim", can.Liveness, err)
	_, err = m.Store.PruneTombstones(t.Context(), time.Now())
	check("PruneTombstones", can.Liveness, err)
	_, err = m.Store.UpdateCluster(t.Context(), store.Cluster{})
	check("UpdateCluster", can.Liveness, err)
	err = m.Session.PutNames(t.Context(), store.Names{Schema: store.Schema, Network: "blue", Node: m.Node.ID, Container: "c1",
		Own: []string{"web"}, Addresses: []netip.Addr{m.Claims[0].Pool.Addr().Next().Next()}})
	check("PutNames", can.Names, err)
}
