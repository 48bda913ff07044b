package overlay

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// TestTheAbsentAreReclaimed: when a network is used up, the pools of a host that
// is gone go by themselves to one that needs them; the host is told when it comes
// back after all, and its containers are cut off.
func TestTheAbsentAreReclaimed(t *testing.T) {
	w := hosts.New(t, binaries, 3)
	w.StartEtcd()
	for _, h := range w.Hosts {
		h.UseEtcdWith(map[string]any{"sessionSeconds": 2})
	}
	a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
	a.StartWithEtcd()
	b.StartWithEtcd()
	for _, h := range w.Hosts[:2] {
		h.Ready(1)
	}
	must(t, a.TryCreateNetwork("small", 29, "10.102.0.0/28")) // two pools
	for _, h := range w.Hosts[:2] {
		awaitUsable(h, "small", 2)
	}
	held := b.Add("small")
	policy, err := a.Control().Policy(t.Context(), control.PolicyChange{})
	if must(t, err); policy.ReclaimAfter != 72*time.Hour || policy.ReclaimAbove != 90 {
		t.Errorf("by default the policy is %+v", policy)
	}

	b.Kill()
	a.Await("without b's session", func(s control.Status) bool { return s.Peers[0].Alive != nil && !*s.Peers[0].Alive })
	c.StartWithEtcd()
	c.Await("told who is dead", func(s control.Status) bool {
		return len(s.Networks) == 1 && strings.Contains(s.Networks[0].Exhausted, "1 of which are not alive (b)")
	})
	after := 3 * time.Second
	policy, err = a.Control().Policy(t.Context(), control.PolicyChange{ReclaimAfter: &after})
	if must(t, err); policy.ReclaimAfter != after || policy.ReclaimAbove != 90 {
		t.Errorf("changed, the policy is %+v", policy)
	}
	start := time.Now()
	awaitUsable(c, "small", 2)
	if took := time.Since(start); took < after {
		t.Errorf("reclaimed after %v, want not before %v", took, after)
	}
	if said := a.Log() + c.Log(); !strings.Contains(said, "host reclaimed") || !strings.Contains(said, "of the pools of network small were in use") {
		t.Error("nobody says that b was reclaimed, and why")
	}
	if _, err := c.Add("small").Await(a.Add("small").Addr); err != nil {
		t.Error(err)
	}

	b.StartWithEtcd()
	s := b.Await("told what happened", func(s control.Status) bool {
		return len(s.Networks) == 1 && len(s.Networks[0].Stranded) == 1 && slices.ContainsFunc(s.Problems, func(p string) bool {
			return strings.Contains(p, "this host was reclaimed while it was away") && strings.Contains(p, netip.PrefixFrom(held.Addr, 29).Masked().String())
		})
	})
	if n := s.Networks[0]; len(n.Pools) != 0 || len(n.Lost) != 1 {
		t.Errorf("back, b has %+v", n)
	}
	pruned, err := a.Control().Prune(t.Context(), time.Now().Add(-time.Hour))
	if must(t, err); len(pruned) != 0 {
		t.Errorf("a fresh tombstone was pruned: %+v", pruned)
	}
	pruned, err = a.Control().Prune(t.Context(), time.Now().Add(time.Hour))
	if must(t, err); len(pruned) != 1 || pruned[0].Node != "b" {
		t.Errorf("pruned were %+v", pruned)
	}
}
