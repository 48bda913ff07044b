package overlay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// Row 29: a host's pool is reclaimed in the very moment in which the host comes
// back, killed and started again or stopped and resumed, while another waits for
// a pool. It keeps what it had, or it was reclaimed, is told so, and whoever has
// the pool then has claimed it anew. The moment is sought: earlier after each
// round that the host has won, later after each that it has lost.
func TestReclaimMeetsTheReturn(t *testing.T) {
	w := hosts.New(t, binaries, 3)
	r := &returns{w: w, e: w.StartEtcd(), by: w.Hosts[1], owner: w.Hosts[0], waiting: w.Hosts[2]}
	for _, h := range w.Hosts {
		h.UseEtcdWith(map[string]any{"sessionSeconds": 3}) // a resumed host notices within a second
	}
	r.owner.StartWithEtcd()
	r.by.StartWithEtcd()
	r.by.Ready(1)
	must(t, r.by.TryCreateNetwork("blue", 24, "10.100.0.0/23")) // two pools
	for _, h := range w.Hosts[:2] {
		awaitUsable(h, "blue", 2)
	}
	r.waiting.StartWithEtcd()
	settled(t, w, r.e, 2)
	for _, way := range []away{
		{name: "killed and started", leave: (*hosts.Host).Kill, back: func(h *hosts.Host) { h.StartWithEtcd() }, moment: 20 * time.Millisecond},
		{name: "stopped and resumed", leave: func(h *hosts.Host) { h.Signal(syscall.SIGSTOP) }, back: func(h *hosts.Host) { h.Signal(syscall.SIGCONT) }, moment: 200 * time.Millisecond},
	} {
		kept, rounds := 0, 0
		for ; rounds < leastReturns() || (kept == 0 || kept == rounds) && rounds < 40; rounds++ {
			if r.round(t, &way) {
				kept++
			}
			if t.Failed() {
				t.Fatalf("%s, round %d", way.name, rounds+1)
			}
		}
		t.Logf("row 29: %s, %d of %d times what the host had was still its own; at the end reclaimed %v after its return", way.name, kept, rounds, way.moment)
		if kept == 0 || kept == rounds {
			t.Errorf("%s: %d of %d times the host was in time: the moment was never met", way.name, kept, rounds)
		}
	}
}

func leastReturns() int {
	if long() {
		return 50
	}
	return 3
}

// An away is how a host goes and comes back; moment is how long after its return
// somebody reclaims it.
type away struct {
	name        string
	leave, back func(*hosts.Host)
	moment      time.Duration
}

// returns are rounds of it. Of two hosts one owns the second of two pools and
// the other waits for it; they change places.
type returns struct {
	w                  *hosts.World
	e                  *hosts.Etcd
	by, owner, waiting *hosts.Host
}

// round tells whether the owner was in time.
func (r *returns) round(t *testing.T, way *away) (kept bool) {
	t.Helper()
	before := r.owner.Await("a member", func(s control.Status) bool {
		return s.Degraded == "" && len(s.Networks) == 1 && len(s.Networks[0].Pools) == 1
	})
	pool := before.Networks[0].Pools[0]
	key, tomb := fmt.Sprintf("pool/blue/%x-%d", pool.Addr().AsSlice(), pool.Bits()), "tomb/"+before.ID
	token, killed, said := r.e.Revision(key), r.e.Revision(tomb), len(r.owner.Log())

	way.leave(r.owner)
	r.e.Expire(before.ID)
	var reclaimed error
	var both sync.WaitGroup
	both.Go(func() { way.back(r.owner) })
	both.Go(func() {
		time.Sleep(way.moment)
		_, reclaimed = r.by.Control().Reclaim(t.Context(), r.owner.Name)
	})
	both.Wait()
	alive(r.by, r.owner.Name)
	usable, _ := settled(t, r.w, r.e, 2)
	ownersAgree(t, r.e, r.w.Hosts, 2)

	kept = reclaimed != nil
	lost := strings.Contains(r.owner.Log()[said:], "pool lost") && strings.Contains(r.owner.Log()[said:], "this host was reclaimed while it was away")
	now, buried := r.e.Revision(key), r.e.Revision(tomb)
	switch {
	case kept && !slices.ContainsFunc([]string{" is alive", "it came back or changed", "its record was written"}, func(why string) bool { return strings.Contains(reclaimed.Error(), why) }):
		t.Errorf("not reclaimed, because %v", reclaimed)
	case kept && (now != token || buried != killed || lost):
		t.Errorf("not reclaimed (%v): the claim made at revision %d is now of %d, the tombstone of %d of %d; lost: %v", reclaimed, token, now, killed, buried, lost)
	case !kept && (now <= token || buried == killed || !lost):
		t.Errorf("reclaimed: the claim made at revision %d is now of %d, the tombstone of %d of %d; lost: %v", token, now, killed, buried, lost)
	case kept && !slices.Contains(usable, r.owner):
		t.Errorf("not reclaimed (%v), and another host has the pool", reclaimed)
	}
	r.traffic(t, usable, pool)
	if kept {
		way.moment -= way.moment / 4
	} else {
		way.moment += way.moment/3 + time.Millisecond
	}
	if !slices.Contains(usable, r.owner) {
		r.owner, r.waiting = r.waiting, r.owner
	}
	return kept
}

// traffic flows to whoever has the pool.
func (r *returns) traffic(t *testing.T, usable []*hosts.Host, pool netip.Prefix) {
	t.Helper()
	for _, h := range usable {
		if h == r.by {
			continue
		}
		var one *hosts.Container
		for deadline := time.Now().Add(hosts.Patience); one == nil; { // the plugin is told a moment after people
			c, err := h.TryAdd("blue")
			if one = c; err != nil && time.Now().After(deadline) {
				t.Fatalf("%s gives no addresses out: %v", h.Name, err)
			}
		}
		two := r.by.Add("blue")
		if !pool.Contains(one.Addr) {
			t.Errorf("%s gives out %s, and has %s", h.Name, one.Addr, pool)
		}
		if _, err := one.Await(two.Addr); err != nil {
			t.Error(err)
		}
		must(t, one.Del())
		must(t, two.Del())
	}
}
