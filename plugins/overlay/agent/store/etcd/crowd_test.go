package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
)

// A crowd is many nodes that want a pool of one network, over several
// connections.
type crowd struct {
	stores []*etcd.Store
	nodes  []store.Node

	mu     sync.Mutex
	owners map[netip.Prefix]store.NodeID
	full   int
}

var crowdNeeds = store.ClaimRequest{Network: "wide", Is4: true}

// newCrowd makes the network, of this many pools, and the nodes.
func newCrowd(t *testing.T, nodes, pools int) *crowd {
	t.Helper()
	path := etcdtest.Start(t).Path(t)
	c := &crowd{owners: map[netip.Prefix]store.NodeID{}}
	for range min(nodes, 40) {
		c.stores = append(c.stores, open(t, path, 0))
	}
	for i := range nodes {
		id := store.NodeID(fmt.Sprintf("%032x", i+1))
		c.nodes = append(c.nodes, store.Node{Schema: store.Schema, ID: id, Name: fmt.Sprintf("node-%04d", i), Epoch: 1,
			VTEP: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}, MTU: 1450}) // RFC 2544
	}
	if _, err := c.stores[0].CreateNetwork(t.Context(), store.Network{Name: "wide", Ranges: rangesOf(pools)}); err != nil {
		t.Fatal(err)
	}
	return c
}

// rangesOf are ranges with exactly so many pools of the usual size.
func rangesOf(pools int) (ranges []netip.Prefix) {
	for next := 0; pools > 0; {
		bits, size := 24, 1
		for 2*size <= pools && next%(2*size) == 0 {
			bits, size = bits-1, 2*size
		}
		ranges = append(ranges, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + byte(next>>8), byte(next), 0}), bits))
		next, pools = next+size, pools-size
	}
	return ranges
}

// all runs fn for each node at once, and tells how long until the last was done.
func (c *crowd) all(fn func(i int, s *etcd.Store, n store.Node)) time.Duration {
	gate := make(chan struct{})
	var running sync.WaitGroup
	for i, n := range c.nodes {
		running.Go(func() {
			<-gate
			fn(i, c.stores[i%len(c.stores)], n)
		})
	}
	start := time.Now()
	close(gate)
	running.Wait()
	return time.Since(start)
}

// claim asks until there is an answer. Whether one that did not come in time
// would have been a pool, the store knows.
func (c *crowd) claim(t *testing.T, session store.Session, n store.Node) {
	for {
		claim, err := session.Claim(t.Context(), crowdNeeds)
		if !errors.Is(err, store.ErrUnreachable) {
			c.note(t, n, claim, err)
			return
		}
		if owned, err := session.Owned(t.Context()); err == nil && len(owned) > 0 {
			c.note(t, n, owned[0], nil)
			return
		}
	}
}

// note keeps what a node was answered.
func (c *crowd) note(t *testing.T, n store.Node, claim store.Claim, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var exhausted *store.ExhaustedError
	other, twice := c.owners[claim.Pool]
	switch {
	case errors.As(err, &exhausted):
		c.full++
	case err != nil:
		t.Errorf("%s claims a pool: %v", n.Name, err)
	case twice:
		t.Errorf("%s was claimed by %s and by %s", claim.Pool, other, n.Name)
	default:
		c.owners[claim.Pool] = n.ID
	}
}

// check compares with what there is room for, and with what the store says.
func (c *crowd) check(t *testing.T, pools int) {
	t.Helper()
	got, full := min(len(c.nodes), pools), max(0, len(c.nodes)-pools)
	if len(c.owners) != got || c.full != full {
		t.Errorf("%d pools were claimed and %d nodes told that there are none; want %d and %d", len(c.owners), c.full, got, full)
	}
	claims, err := c.stores[0].Pools(t.Context(), "wide")
	if err != nil {
		t.Fatal(err)
	}
	if len(claims) != got || slices.ContainsFunc(claims, func(x store.Claim) bool { return c.owners[x.Pool] != x.Owner }) {
		t.Errorf("the store has %d claims, or other owners than those who were told so", len(claims))
	}
}

// enter has all come in, each with what it needs, and tells which pools they
// got by that.
func (c *crowd) enter(t *testing.T, needs func([]store.Network, []store.Claim) []store.ClaimRequest) (sessions []store.Session, took time.Duration) {
	t.Helper()
	sessions = make([]store.Session, len(c.nodes))
	took = c.all(func(i int, s *etcd.Store, n store.Node) {
		session, err := s.Session(t.Context(), store.Registration{Node: n, Boot: "b", Needs: needs})
		for errors.Is(err, store.ErrUnreachable) {
			session, err = s.Session(t.Context(), store.Registration{Node: n, Boot: "b", Needs: needs})
		}
		if err != nil {
			t.Errorf("session of %s: %v", n.Name, err)
			return
		}
		sessions[i] = session
	})
	t.Cleanup(func() {
		c.all(func(i int, _ *etcd.Store, _ store.Node) {
			if sessions[i] != nil {
				_ = sessions[i].Close(context.Background(), true)
			}
		})
	})
	if t.Failed() {
		t.FailNow()
	}
	return sessions, took
}

// TestManyClaims: nodes that come at the same moment all get a pool of their own,
// as they enter or, if somebody was quicker, after that; exactly those that are
// too many are told that there are no more.
func TestManyClaims(t *testing.T) {
	t.Parallel()
	const claimants, pools = 72, 64
	c := newCrowd(t, claimants, pools)
	sessions, _ := c.enter(t, func([]store.Network, []store.Claim) []store.ClaimRequest { return []store.ClaimRequest{crowdNeeds} })
	var entering int
	c.all(func(i int, _ *etcd.Store, n store.Node) {
		if owned := sessions[i].Entry().Owned; len(owned) > 0 {
			c.note(t, n, owned[0], nil)
			return
		}
		c.claim(t, sessions[i], n)
	})
	for _, session := range sessions {
		entering += len(session.Entry().Owned)
	}
	c.check(t, pools)
	t.Logf("%d of %d nodes got theirs as they entered", entering, claimants)
}

// TestTheRangesOfACrowd: they have exactly the pools that are asked for.
func TestTheRangesOfACrowd(t *testing.T) {
	for _, pools := range []int{1, 64, 170, 204, 847, 1020} {
		size := 0
		for _, r := range rangesOf(pools) {
			if r != r.Masked() {
				t.Errorf("%d pools: %s is not a prefix", pools, r)
			}
			size += 1 << (24 - r.Bits())
		}
		if size != pools {
			t.Errorf("%v have %d pools, want %d", rangesOf(pools), size, pools)
		}
	}
}
