package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// fastPath is what the worker remembers of the fast path.
type fastPath struct {
	// taken is what it is, and withdrawn what takes the usual way because of an
	// onlooker; known after the first pass.
	taken, withdrawn wire.FastPath
	known            bool
	// used are the networks that have had a container here since the start.
	used map[string]bool
}

// fastInput collects what depends on who takes the fast path.
func (a *Agent) fastInput(in *plan.Input) (err error) {
	if a.fast.used == nil {
		a.fast.used = map[string]bool{}
	}
	in.Plain, in.Used = map[string][]netip.Addr{}, a.fast.used
	for _, n := range plan.FastNetworks(in.View) {
		if in.Plain[n.Name], err = a.plain(n.Name); err != nil {
			return err
		}
		in.Used[n.Name] = in.Used[n.Name] || len(in.Plain[n.Name]) > 0
	}
	in.Onlooker = a.onlooker(in.View)
	a.with(func(s *state) { s.onlooker, in.NoFastPath = in.Onlooker, s.noFastPath })
	return nil
}

// onlooker says who has rules on this host that would see packets of networks for
// which that matters; "" is nobody.
func (a *Agent) onlooker(v store.View) string {
	p := firewall.Passers{Links: []string{handover.Device}}
	for _, n := range plan.FastNetworks(v) {
		if n.FastPath == store.FastAuto {
			p.Links, p.Ranges = append(p.Links, plan.BridgeOf(n)), append(p.Ranges, n.Ranges...)
		}
	}
	if len(p.Ranges) == 0 {
		return ""
	}
	return a.onlookers.Find(p)
}

// watchRules wakes the worker when somebody has become an onlooker, or is one no
// more.
func (a *Agent) watchRules(ctx context.Context) error {
	if !a.settled(ctx) {
		return ctx.Err()
	}
	news, err := firewall.WatchAll(ctx)
	if err != nil {
		a.log.Warn("changes of the packet filter are seen at the next look only", "every", audit, "error", err)
	}
	for {
		var view store.View
		var before string
		a.with(func(s *state) { view, before = s.view, s.onlooker })
		if a.onlooker(view) != before {
			a.dirty.ring()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-news:
			if !open {
				news = nil // nothing more is told
			}
		}
		if !pause(ctx, newsPause) {
			return ctx.Err()
		}
	}
}

// applyFastPath makes the fast path so. That there can't be one takes nothing from
// the overlay but its speed: the next pass plans without.
func (a *Agent) applyFastPath(p plan.Plan) (writes int) {
	writes, err := count(firewall.ApplyFastPath(p.Fence))
	switch {
	case errors.Is(err, firewall.ErrNoFastPath):
		a.log.Info("all packets take the usual way", "because", err)
		a.with(func(s *state) { s.noFastPath = firewall.ErrNoFastPath.Error() })
		a.dirty.ring()
	case err != nil:
		a.log.Warn("no fast path: all packets take the usual way until the next look", "error", err)
	}
	a.forgetComing(p)
	return writes
}

// What connection tracking has seen of a connection is of no use after the
// connection has gone on where it does not look: it would take the rest for
// invalid, and rules drop that. So what is tracked is deleted while the packets are
// not, and taken up anew with the first one that is.

// forgetLeaving is called before packets take the usual way again.
func (a *Agent) forgetLeaving(p plan.Plan) {
	before := a.fast.taken
	if !a.fast.known {
		if len(p.Withdrawn.Networks) == 0 {
			return
		}
		if there, err := firewall.HasFastPath(); err != nil || !there {
			return
		}
		before = p.Withdrawn // of an earlier overlayd
	}
	taken := map[uint16]bool{}
	for _, n := range p.Fence.Fast.Networks {
		taken[n.Group] = true
	}
	// Not those of a container that has ended: who starts and ends many is not to
	// read all that is tracked each time.
	gone := slices.DeleteFunc(slices.Clone(before.Networks), func(n wire.FastNetwork) bool { return taken[n.Group] })
	a.forgetTracked(fastContainers(wire.FastPath{Networks: gone}), fastPools(before))
	// Those of a peer that takes less than the tunnel's MTU now.
	a.forgetTracked(fastContainers(p.Fence.Fast), without(fastPools(before), fastPools(p.Fence.Fast)))
}

// forgetComing is called after packets have begun to take the fast path: nobody
// else would delete the entries for days.
func (a *Agent) forgetComing(p plan.Plan) {
	if a.fast.known {
		a.forgetTracked(common(fastContainers(a.fast.withdrawn), fastContainers(p.Fence.Fast)), fastPools(p.Fence.Fast))
	}
	a.fast.taken, a.fast.withdrawn, a.fast.known = p.Fence.Fast, p.Withdrawn, true
}

func (a *Agent) forgetTracked(containers []netip.Addr, pools []netip.Prefix) {
	if len(containers) == 0 || len(pools) == 0 {
		return
	}
	n, err := firewall.ForgetTracked(containers, pools)
	if err != nil {
		a.log.Warn("connections that were tracked before may be taken for invalid", "error", err)
		return
	}
	a.log.Info("connections change over to the other way", "containers", len(containers), "entries deleted", n)
}

func fastContainers(f wire.FastPath) (all []netip.Addr) {
	for _, n := range f.Networks {
		all = append(all, n.Containers...)
	}
	return all
}

func fastPools(f wire.FastPath) (all []netip.Prefix) {
	for _, p := range f.Peers {
		all = append(all, p.Pool)
	}
	return all
}

// common are those that are in both, and without those that are in the first alone.
func common[T comparable](a, b []T) []T {
	in := setOf(b)
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return !in[x] })
}

func without[T comparable](a, b []T) []T {
	in := setOf(b)
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return in[x] })
}

func setOf[T comparable](all []T) map[T]bool {
	set := make(map[T]bool, len(all))
	for _, x := range all {
		set[x] = true
	}
	return set
}
