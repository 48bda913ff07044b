package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// needs says which pools this host lacks when it comes in.
func (a *Agent) needs(networks []store.Network, owned []store.Claim) []store.ClaimRequest {
	var needs []store.ClaimRequest
	for _, n := range networks {
		for _, is4 := range []bool{true, false} {
			if n.Leaving || !slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Addr().Is4() == is4 }) {
				continue
			}
			// What can't be told now is looked at again by the member loop.
			if need, err := a.needsPool(n.Name, is4, owned); err == nil && need {
				needs = append(needs, store.ClaimRequest{Network: n.Name, Is4: is4, Prefer: a.formerPool(n.Name, is4, owned)})
			}
		}
	}
	return needs
}

// claimFor makes sure that the network has a pool of each family with room in
// it.
func (a *Agent) claimFor(ctx context.Context, session store.Session, n store.Network) error {
	for _, is4 := range []bool{true, false} {
		if !slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Addr().Is4() == is4 }) {
			continue
		}
		var owned []store.Claim
		a.with(func(s *state) { owned = s.memory.Owned })
		need, err := a.needsPool(n.Name, is4, owned)
		if err != nil {
			return err
		}
		if !need || a.hopeless(n, is4) {
			continue
		}
		claim, err := session.Claim(ctx, store.ClaimRequest{Network: n.Name, Is4: is4, Prefer: a.formerPool(n.Name, is4, owned)})
		var exhausted *store.ExhaustedError
		if errors.As(err, &exhausted) {
			a.noteExhausted(n.Name, is4, err)
			continue
		}
		if err != nil {
			return err
		}
		a.log.Info("pool claimed", "network", n.Name, "pool", claim.Pool)
		if err := a.add(n.Name, claim); err != nil {
			return err
		}
	}
	return nil
}

// A lack is that of a pool of a network and a family.
type lack struct {
	network string
	is4     bool
}

// askAgain is after how long the store is asked for a pool although there seems to
// be none: before the next audit, which rings in any case.
const askAgain = audit - 5*time.Second

// hopeless tells that the store had no pool a moment ago, and that by all that is
// known since nobody has given one back. Every change of any host is news to those
// that wait for a pool, and each question of theirs reads all pools: where a hundred
// wait, they would keep the store busy with that alone.
func (a *Agent) hopeless(n store.Network, is4 bool) (is bool) {
	a.with(func(s *state) {
		asked, before := s.asked[lack{n.Name, is4}]
		is = before && time.Since(asked) < askAgain && s.view.Free(n, is4) <= 0
	})
	return is
}

// noteExhausted keeps the reason for status, and tells it once.
func (a *Agent) noteExhausted(network string, is4 bool, err error) {
	a.with(func(s *state) {
		s.asked[lack{network, is4}] = time.Now()
		if before := s.exhausted[network]; before == nil || before.Error() != err.Error() {
			a.log.Error("no pool", "error", err)
			a.dirty.ring()
		}
		s.exhausted[network] = err
	})
}

func (a *Agent) add(network string, claim store.Claim) error {
	var now []store.Claim
	a.with(func(s *state) {
		delete(s.exhausted, network)
		now = slices.Clone(s.memory.Owned)
		s.self.Pools = maps.Clone(s.self.Pools)
	})
	if slices.Contains(now, claim) {
		return nil
	}
	return a.own(append(now, claim), "")
}

// formerPool is a pool that the host had and might get again: containers may
// still have addresses of it.
func (a *Agent) formerPool(network string, is4 bool, owned []store.Claim) (former netip.Prefix) {
	a.with(func(s *state) {
		for _, c := range slices.Concat(s.memory.Owned, s.memory.Lost) {
			mine := slices.ContainsFunc(owned, func(o store.Claim) bool { return o.Network == network && o.Pool == c.Pool })
			if c.Network == network && c.Pool.Addr().Is4() == is4 && !mine {
				former = c.Pool
			}
		}
	})
	return former
}

// giveBack releases the pools of a network that is being removed, unless
// containers are in it.
func (a *Agent) giveBack(ctx context.Context, session store.Session, n store.Network) error {
	used, err := a.attachments(n.Name)
	if err != nil || len(used) > 0 {
		return err
	}
	var mine, rest []store.Claim
	a.with(func(s *state) {
		for _, c := range s.memory.Owned {
			if c.Network == n.Name {
				mine = append(mine, c)
			} else {
				rest = append(rest, c)
			}
		}
		s.memory.Lost = slices.DeleteFunc(s.memory.Lost, func(c store.Claim) bool { return c.Network == n.Name })
	})
	for _, c := range mine {
		if err := session.Release(ctx, c); err != nil {
			return err
		}
		a.log.Info("pool released", "network", c.Network, "pool", c.Pool)
	}
	if len(mine) == 0 {
		return nil
	}
	a.forget(mine)
	return a.own(rest, "")
}

// forget takes claims out of memory that were given back, so that they don't
// count as lost.
func (a *Agent) forget(claims []store.Claim) {
	a.with(func(s *state) {
		s.memory.Owned = slices.DeleteFunc(s.memory.Owned, func(c store.Claim) bool { return slices.Contains(claims, c) })
	})
}
