package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// The worker's clock.
const (
	coalesce    = 5 * time.Millisecond  // what comes together is one pass
	coalesceMax = 50 * time.Millisecond // a steady stream does not put it off for longer
	newsPause   = 20 * time.Millisecond // between two looks at the host's addresses
	audit       = 30 * time.Second      // it looks even if nobody said anything
	startWait   = time.Second           // after which what a start would be disturbed by is done all the same
	firstRetry  = time.Second           // of an object that could not be written
	lastRetry   = time.Minute
	firstAgain  = 100 * time.Millisecond // after a pass that failed as a whole
	lastAgain   = 10 * time.Second
)

// passes counts what the worker did.
type passes struct {
	Count, Writes, Failures int
	Last                    time.Duration // how long the last one took
	Err                     error
}

// A retry is an object that failed, and when it is due again.
type retry struct {
	wait time.Duration
	due  time.Time
}

// work makes the kernel as it should be, again and again.
func (a *Agent) work(ctx context.Context) error {
	failing := map[string]*retry{}
	a.dirty.ring() // the snapshot
	return a.look(ctx, func() (time.Duration, error) {
		err := a.pass(failing)
		return nextDue(failing), err
	})
}

// look calls pass whenever something may be different, when it says that it has
// to be called again (0 is never), and soon after it has failed.
func (a *Agent) look(ctx context.Context, pass func() (next time.Duration, err error)) error {
	tick := time.NewTicker(audit)
	defer tick.Stop()
	b := backoff{first: firstAgain, most: lastAgain}
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.dirty:
			if !a.settle(ctx) {
				return ctx.Err()
			}
		case <-tick.C:
		case <-due:
		}
		next, err := pass()
		if err == nil {
			b.reset()
		} else if again := b.next(); next == 0 || again < next {
			next = again
		}
		if due = nil; next > 0 {
			due = time.After(next)
		}
	}
}

// settle waits until nobody has said anything for a moment. At the start nobody
// waits: the first view is complete.
func (a *Agent) settle(ctx context.Context) bool {
	ready := false
	a.with(func(s *state) { ready = s.ready })
	if !ready {
		return ctx.Err() == nil
	}
	for end := time.Now().Add(coalesceMax); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false
		case <-a.dirty:
		case <-time.After(coalesce):
			return true
		}
	}
	return true
}

func nextDue(failing map[string]*retry) time.Duration {
	var next time.Duration
	for _, r := range failing {
		if wait := max(time.Until(r.due), time.Millisecond); next == 0 || wait < next {
			next = wait
		}
	}
	return next
}

// pass looks at everything once and writes what is different.
func (a *Agent) pass(failing map[string]*retry) error {
	start := time.Now()
	// As it is before the pass: one that began with the snapshot has not made
	// what the store says.
	current := false
	a.with(func(s *state) { current = s.joined && s.live })
	writes, err := a.reconcile(failing)
	a.with(func(s *state) {
		p := &s.passes
		p.Count, p.Writes, p.Last = p.Count+1, p.Writes+writes, time.Since(start)
		if err != nil {
			p.Failures++
			if p.Err == nil || p.Err.Error() != err.Error() {
				a.log.Error("the overlay is not as it should be", "error", err)
			}
		} else if current && !s.ready {
			s.ready = true
			close(a.started)
			a.log.Info("ready", "peers", len(s.plan.Mesh.Peers), "took", p.Last)
		}
		if s.cries() {
			a.member.ring()
		}
		p.Err = err
	})
	return err
}

// reconcile is one pass. It tells how much was written.
func (a *Agent) reconcile(failing map[string]*retry) (writes int, err error) {
	in, keep, ok, err := a.input()
	if !ok || err != nil {
		return 0, err
	}
	a.with(func(s *state) { s.local = in.Local })
	if len(in.View.Networks) == 0 {
		a.with(func(s *state) { s.plan = plan.Plan{} })
		return 0, a.dismantleIf(!keep)
	}
	p := plan.Make(in)
	a.notePlan(p)
	n, err := a.host.EnsureVxlan(p.Tunnel)
	writes += n
	if err != nil {
		return writes, err
	}
	if err := a.host.PrepareOverlay(handover.Device, has6(in.View)); err != nil {
		return writes, err
	}
	a.forgetLeaving(p)
	n, unset, err := a.program(&p, keep, failing)
	writes += n
	if err != nil {
		return writes, err
	}
	writes += a.applyFastPath(p) // where it leads is known now
	return writes, errors.Join(a.handOver(p, keep), unset)
}

// count is 1 for something written.
func count(written bool, err error) (int, error) {
	if written {
		return 1, err
	}
	return 0, err
}

// program makes fence and mesh so. Before anything leads into a tunnel that may
// be new, the fence knows it; until then both are made side by side. What single
// objects could not be set is no reason to stop.
func (a *Agent) program(p *plan.Plan, keep bool, failing map[string]*retry) (writes int, unset, err error) {
	options := kernel.MeshOptions{Keep: keep}
	if len(failing) > 0 {
		options.Skip = func(object string) bool {
			r := failing[object]
			return r != nil && time.Now().Before(r.due)
		}
	}
	fenced := make(chan error, 1)
	go func() {
		var err error
		writes, err = a.applyFence(&p.Fence, keep)
		fenced <- err
	}()
	options.Guarded = sync.OnceValue(func() error { return <-fenced })
	report, err := a.host.ApplyMesh(p.Mesh, options)
	if guarded := options.Guarded(); err == nil {
		err = guarded
	}
	a.tell(report)
	noteFailures(failing, report)
	return writes + report.Writes(), failuresOf(report), err
}

// applyFence leaves a fence that stands alone while all that is known is a
// snapshot: who is not in it may have come since, and would be kept out.
func (a *Agent) applyFence(f *wire.Fence, keep bool) (writes int, err error) {
	if f.Tunnel, f.Underlay, err = a.host.TunnelLinks(f.Device); err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	for i := range f.Fast.Networks {
		n := &f.Fast.Networks[i]
		if n.Number, err = a.host.LinkNumber(n.Bridge); err != nil {
			return 0, fmt.Errorf("fence: %w", err)
		}
	}
	live := false
	a.with(func(s *state) { live = s.live })
	if !live {
		if stands, err := firewall.FenceStands(*f); stands || err != nil {
			return 0, err
		}
	}
	return count(firewall.ApplyFence(*f, keep))
}

// input collects what a plan depends on. It is not ok while there is no view,
// or no tunnel address.
func (a *Agent) input() (in plan.Input, keep, ok bool, err error) {
	a.with(func(s *state) {
		ok = s.seen
		keep = s.keeps()
		in = plan.Input{View: s.view, Self: s.self.ID, Local: s.local, Owned: slices.Clone(s.memory.Owned), Lost: slices.Clone(s.memory.Lost),
			Degraded: s.degraded(), Probed: map[netip.Addr]int{}}
		for peer, mtu := range s.probed {
			in.Probed[peer] = mtu
		}
	})
	if !ok {
		return in, keep, false, nil
	}
	in.Exhausted = a.whyNoPool
	if err = a.fastInput(&in); err != nil {
		return in, keep, false, err
	}
	if !in.Local.IsValid() {
		if in.Local, err = a.tunnelAddress(in.View, in.Self); err != nil {
			return in, keep, false, err
		}
		a.with(func(s *state) { in.Self = s.self.ID }) // a peers file names its hosts
	}
	if in.DeviceMTU, in.To, err = a.host.UnderlayMTU(in.Local); err != nil {
		return in, keep, false, err
	}
	if a.cfg.Direct {
		if in.Direct, err = a.host.LinkOf(in.Local); err != nil {
			return in, keep, false, err
		}
		in.OnLink = func(to netip.Addr) bool { return a.host.OnLink(to, in.Local) }
	}
	return in, keep, true, nil
}

// whyNoPool says why a network gets no further pool on this host; "" if it does.
func (a *Agent) whyNoPool(network string) (why string) {
	if !a.cfg.Store.Can().Claims {
		return fmt.Sprintf("the pools of network %s are assigned by others (store %s): give this host another one there", network, a.cfg.Store.Kind())
	}
	a.with(func(s *state) {
		if err := s.exhausted[network]; err != nil {
			why = err.Error()
		}
	})
	return why
}

func has6(v store.View) bool {
	for _, n := range v.Networks {
		for _, r := range n.Ranges {
			if r.Addr().Is6() {
				return true
			}
		}
	}
	return false
}

// notePlan keeps the plan for status, and tells of new conflicts.
func (a *Agent) notePlan(p plan.Plan) {
	a.with(func(s *state) {
		for _, c := range p.Conflicts {
			if !slices.Contains(s.plan.Conflicts, c) {
				a.log.Warn("record left out", "because", c)
			}
		}
		if s.plan.MTU != p.MTU {
			a.member.ring() // the others should know
		}
		if s.plan.Tunnel.Local != p.Tunnel.Local {
			a.tunnel.ring()
		}
		s.plan = p
	})
}

// tell logs each change, or how many there were.
func (a *Agent) tell(report kernel.MeshReport) {
	const many = 16
	if n := len(report.Set) + len(report.Removed); n > many {
		a.log.Info("mesh brought up to date", "set", len(report.Set), "removed", len(report.Removed))
		return
	}
	for _, object := range report.Set {
		a.log.Info("set", "object", object.String())
	}
	for _, object := range report.Removed {
		a.log.Info("removed", "object", object.String())
	}
}

// noteFailures puts what failed off, twice as long each time, and forgets what
// no longer fails.
func noteFailures(failing map[string]*retry, report kernel.MeshReport) {
	for _, f := range report.Failed {
		r := failing[f.Object]
		if r == nil {
			r = &retry{wait: firstRetry / 2}
			failing[f.Object] = r
		}
		r.wait = min(2*r.wait, lastRetry)
		r.due = time.Now().Add(r.wait)
	}
	for object, r := range failing {
		if time.Now().After(r.due) {
			delete(failing, object)
		}
	}
}

func failuresOf(report kernel.MeshReport) error {
	if len(report.Failed) == 0 {
		return nil
	}
	first := report.Failed[0]
	return fmt.Errorf("%d objects could not be set, the first is %w", len(report.Failed), first)
}

// handOver writes what the plugin reads, and the networks' definitions.
func (a *Agent) handOver(p plan.Plan, keep bool) error {
	var errs []error
	wanted := map[string]bool{}
	for _, n := range p.Networks {
		wanted[n.Network] = true
		before, _ := handover.Read(a.cfg.StateDir, n.Network)
		changed, err := a.share(n)
		errs = append(errs, err)
		if changed && before.MTU > n.MTU {
			errs = append(errs, a.lowerMTU(n.Network, n.MTU))
		}
	}
	if !keep {
		have, err := handover.List(a.cfg.StateDir)
		errs = append(errs, err)
		for _, name := range have {
			if !wanted[name] {
				errs = append(errs, handover.Remove(a.cfg.StateDir, name))
			}
		}
	}
	return errors.Join(append(errs, a.writeDefinitions(p, keep))...)
}

// share writes a network's file, with the pools that are lost by now as lost.
func (a *Agent) share(n handover.Network) (changed bool, err error) {
	a.sharing.Lock()
	defer a.sharing.Unlock()
	n.Pools = slices.Clone(n.Pools)
	a.with(func(s *state) {
		for i, p := range n.Pools {
			owned := slices.ContainsFunc(s.memory.Owned, func(c store.Claim) bool { return c.Network == n.Network && c.Pool == p.Prefix })
			n.Pools[i].Lost = p.Lost || !owned
		}
	})
	return handover.Write(a.cfg.StateDir, n)
}

// dismantleIf takes the tunnel away where no network is left.
func (a *Agent) dismantleIf(known bool) error {
	if !known {
		return nil
	}
	return errors.Join(a.host.RemoveVxlan(handover.Device), a.host.RemoveMeshRoutes(), firewall.RemoveFastPath(), firewall.RemoveFence(),
		a.handOver(plan.Plan{}, false))
}

// watchHost wakes the worker when links, addresses, routes or neighbours
// change. It begins after the first complete pass, which would be news to it
// thousands of times; what has changed meanwhile is found by looking.
func (a *Agent) watchHost(ctx context.Context) error {
	if !a.settled(ctx) {
		return ctx.Err()
	}
	news, err := kernel.News(ctx)
	if err != nil {
		return err
	}
	a.dirty.ring()
	a.checkAddress()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
			a.dirty.ring()
			a.checkAddress()
			// This host's own changes are news too.
			if !pause(ctx, newsPause) {
				return ctx.Err()
			}
		}
	}
}
