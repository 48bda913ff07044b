package agent

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Waiting times towards the store: from half a second up to two, with jitter,
// so that a thousand hosts don't come back at the same instant.
const (
	firstWait = 250 * time.Millisecond
	longWait  = 2 * time.Second
	// many hosts list again spread over this time.
	relistSpread = 2 * time.Second
	manyNodes    = 100
	// snapshotPause gathers changes before the snapshot is written.
	snapshotPause = time.Second
)

// backoff is the wait between attempts: twice as long each time, from first up to
// most. 0 stands for those towards the store.
type backoff struct{ first, most, wait time.Duration }

func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, cmp.Or(b.first, firstWait)), cmp.Or(b.most, longWait))
	return b.wait/2 + rand.N(b.wait/2+1)
}

func (b *backoff) reset() { b.wait = 0 }

// watchStore takes in what the store says of everybody. It begins when this host
// has tried to join, which has read the same: a host that knows of its pools and
// of the others at once programs the routes once.
func (a *Agent) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.tried:
	}
	snapshots := newBell()
	go a.writeSnapshots(ctx, snapshots)
	follow := a.cfg.Store.Watch
	a.with(func(s *state) {
		if s.session != nil {
			follow = s.session.Watch
		}
	})
	var b backoff
	for {
		following, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-following.Done():
			case <-a.again:
				stop()
			}
		}()
		list := true
		err := follow(following, func(v store.View) {
			b.reset()
			if a.take(v, list) {
				snapshots.ring()
			}
			list = false
		})
		asked := following.Err() != nil
		stop()
		follow = a.cfg.Store.Watch
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if asked {
			continue
		}
		a.log.Warn("not following the store, trying again", "error", err)
		wait := b.next()
		a.with(func(s *state) {
			if len(s.view.Nodes) > manyNodes {
				wait += rand.N(relistSpread)
			}
		})
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// take makes a view the current one, unless it is of another cluster or older
// than the last: then nothing is done with it, and the member loop says why.
// list tells that it was read now, and not made of what was read before.
func (a *Agent) take(v store.View, list bool) (taken bool) {
	safety := false
	a.with(func(s *state) {
		if s.left {
			return
		}
		if s.memory.Cluster != "" && v.Cluster.ID != "" && v.Cluster.ID != s.memory.Cluster {
			a.log.Error("view of another cluster ignored", "cluster", v.Cluster.ID, "own", s.memory.Cluster)
			return
		}
		if s.memory.Cluster != "" && v.Cluster.ID == "" && len(v.Nodes) > 0 && !slices.ContainsFunc(v.Skipped, func(k store.Skipped) bool { return k.Cluster }) {
			return // nodes are entered with their cluster: it may be another one, and not be heard of yet
		}
		if s.confirming && list {
			s.memory.Safe, s.confirming, safety = false, false, true
			a.log.Warn("safe mode ended: what the store does not know of is deleted")
		}
		if s.seen && v.Revision < s.view.Revision && !s.memory.Safe {
			s.memory.Safe, safety = true, true
			a.rejoin.ring()
			a.log.Error("the store has gone back in time: nothing is deleted until somebody confirms", "revision", v.Revision, "seen", s.view.Revision)
		}
		for _, k := range v.Skipped {
			if slices.Contains(s.view.Skipped, k) {
				continue
			}
			a.log.Warn("value left out", "key", k.Key, "because", k.Why)
		}
		whole := v.Keeping(s.view, s.memory.Safe)
		if whole.Cluster != s.view.Cluster {
			a.policy.ring()
		}
		s.view, s.seen, s.live, taken = whole, true, true, true
	})
	if safety {
		if err := a.saveMemory(); err != nil {
			a.log.Error("a restart would not know whether the store has gone back in time", "error", err)
		}
	}
	a.dirty.ring()
	a.member.ring()
	a.names.ring()
	a.mirror.ring()
	return taken
}

// writeSnapshots keeps the file up to date, without writing it at each change.
func (a *Agent) writeSnapshots(ctx context.Context, due bell) {
	if !a.settled(ctx) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
		}
		var v store.View
		a.with(func(s *state) { v = s.view })
		if err := saveSnapshot(a.dir, v); err != nil {
			a.log.Error("no snapshot for a start without store", "error", err)
		}
		if !pause(ctx, snapshotPause) {
			return
		}
	}
}
