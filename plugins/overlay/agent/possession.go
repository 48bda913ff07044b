package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// takePossession compares the claims with which this host has come in with those
// that it remembers, by their tokens. A claim that is gone, or was made anew by
// somebody, is lost: no more addresses are given out from it.
func (a *Agent) takePossession(ctx context.Context, session store.Session, entry store.Entry) (err error) {
	now := entry.Owned
	var safe, doubtful bool
	var remembered []store.Claim
	a.with(func(s *state) {
		// Who takes pools away leaves a tombstone. Without one the store has
		// forgotten, though its revision may be past the last one seen by now.
		doubtful = !s.memory.Safe && entry.Tombstone == nil && a.cfg.Store.Can().Claims && len(s.lostAmong(now)) > 0
		s.memory.Safe = s.memory.Safe || doubtful
		safe, remembered = s.memory.Safe, slices.Clone(s.memory.Owned)
	})
	if doubtful {
		a.log.Error("the store does not know this host's pools, and nobody took them: nothing is deleted until somebody confirms")
		if err := a.saveMemory(); err != nil {
			return err
		}
	}
	if safe {
		if now, err = a.restoreClaims(ctx, session, remembered, now); err != nil {
			return err
		}
	}
	return a.own(now, entry.Cluster)
}

// verify is takePossession later, where somebody else assigns the pools.
func (a *Agent) verify(ctx context.Context, session store.Session) error {
	now, err := session.Owned(ctx)
	if err != nil {
		return err
	}
	return a.own(now, session.Entry().Cluster)
}

// adopt takes over claims that were made and whose answers were lost. What was
// lost itself is found by others.
func (a *Agent) adopt(ctx context.Context, session store.Session) error {
	owned, err := session.Owned(ctx)
	if err != nil {
		return err
	}
	var known []store.Claim
	a.with(func(s *state) { known = slices.Clone(s.memory.Owned) })
	for _, c := range owned {
		if slices.ContainsFunc(known, func(o store.Claim) bool { return o.Network == c.Network && o.Pool == c.Pool }) {
			continue
		}
		a.log.Info("pool claimed, and the answer had been lost", "network", c.Network, "pool", c.Pool)
		if err := a.add(c.Network, c); err != nil {
			return err
		}
	}
	return nil
}

// restoreClaims claims again what a restored store has forgotten.
func (a *Agent) restoreClaims(ctx context.Context, session store.Session, remembered, now []store.Claim) ([]store.Claim, error) {
	for _, c := range remembered {
		if slices.ContainsFunc(now, func(o store.Claim) bool { return o.Network == c.Network && o.Pool == c.Pool }) {
			continue
		}
		request := store.ClaimRequest{Network: c.Network, Is4: c.Pool.Addr().Is4(), Prefer: c.Pool}
		again, err := session.Claim(ctx, request)
		if errors.Is(err, store.ErrNotFound) {
			a.restoreNetwork(ctx, c.Network)
			again, err = session.Claim(ctx, request)
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
			now = append(now, c) // nobody else can have it either
		case err != nil:
			return now, err
		default:
			now = append(now, again)
		}
	}
	return now, nil
}

// restoreNetwork enters a network again that a restored store has forgotten.
// Another host may have been faster.
func (a *Agent) restoreNetwork(ctx context.Context, name string) {
	var n store.Network
	var known bool
	a.with(func(s *state) { n, known = s.view.Network(name) })
	if !known {
		return
	}
	if _, err := a.cfg.Store.CreateNetwork(ctx, n); err != nil {
		a.log.Warn("network not entered again", "network", name, "because", err)
		return
	}
	a.log.Info("network entered again", "network", name)
}

// own makes these claims the host's in a cluster, and those that it had besides
// lost.
func (a *Agent) own(now []store.Claim, cluster store.ClusterID) error {
	var lost []store.Claim
	a.with(func(s *state) { lost = s.lostAmong(now) })
	for _, c := range lost {
		a.log.Error("pool lost: containers in it keep their addresses and are cut off from other hosts", "network", c.Network, "pool", c.Pool)
	}
	changed := false
	a.with(func(s *state) {
		s.memory.Lost = append(s.memory.Lost, lost...)
		s.memory.Lost = slices.DeleteFunc(s.memory.Lost, func(c store.Claim) bool {
			return slices.ContainsFunc(now, func(o store.Claim) bool { return o.Network == c.Network && o.Pool == c.Pool && o.Token != 0 })
		})
		cluster = cmp.Or(cluster, s.memory.Cluster)
		changed = a.saved != s.memory.ID || !slices.Equal(s.memory.Owned, now) || cluster != s.memory.Cluster || s.self.Epoch != s.memory.Epoch
		s.memory.Owned, s.memory.Cluster = slices.Clone(now), cluster
		s.memory.Epoch = max(s.memory.Epoch, s.self.Epoch)
		a.saved = s.memory.ID
	})
	// First of all nobody gets an address of theirs any more.
	if err := a.withhold(lost); err != nil || !changed {
		return err
	}
	a.dirty.ring()
	return a.saveMemory()
}

// lostAmong are the claims that the host believed to be its own and that are
// not among these, or with another token: made anew by somebody. A claim of a
// peers file has no token, and after the store went back in time what was
// claimed again has a new one.
func (s *state) lostAmong(now []store.Claim) []store.Claim {
	return slices.DeleteFunc(slices.Clone(s.memory.Owned), func(c store.Claim) bool {
		return slices.ContainsFunc(now, func(o store.Claim) bool {
			return o.Network == c.Network && o.Pool == c.Pool && (o.Token == c.Token || c.Token == 0 || s.memory.Safe)
		})
	})
}

// withhold tells the plugin to give nothing out from lost pools, without
// waiting for the worker.
func (a *Agent) withhold(lost []store.Claim) error {
	a.sharing.Lock()
	defer a.sharing.Unlock()
	for _, c := range lost {
		share, err := handover.Read(a.cfg.StateDir, c.Network)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for i := range share.Pools {
			share.Pools[i].Lost = share.Pools[i].Lost || share.Pools[i].Prefix == c.Pool
		}
		if err == nil {
			_, err = handover.Write(a.cfg.StateDir, share)
		}
		if err != nil {
			return fmt.Errorf("withhold pool %s of network %s: %w", c.Pool, c.Network, err)
		}
	}
	return nil
}
