package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// beMember keeps a session with the store: it enters the host, makes sure of
// its pools before anything else, claims what is missing, and keeps the host's
// record up to date. When the session is lost it begins anew.
func (a *Agent) beMember(ctx context.Context) error {
	var b backoff
	tried := sync.OnceFunc(func() { close(a.tried) })
	for ctx.Err() == nil {
		session, err := a.join(ctx)
		tried()
		if err == nil {
			b.reset()
			err = a.stay(ctx, session)
			a.with(func(s *state) { s.session = nil })
		}
		if ctx.Err() != nil {
			break
		}
		a.trouble(err)
		if !pause(ctx, b.next()) {
			break
		}
	}
	return ctx.Err()
}

// trouble notes why the store can't be used, and since when; nil that it can.
func (a *Agent) trouble(err error) {
	a.with(func(s *state) {
		switch {
		case err == nil && s.trouble != nil:
			a.log.Info("the store is back", "after", time.Since(s.since).Round(time.Millisecond))
		case err != nil && (s.trouble == nil || s.trouble.Error() != err.Error()):
			a.log.Warn("not a member", "because", err)
		}
		if err != nil && s.trouble == nil {
			s.since = time.Now()
		}
		changed := (err == nil) != (s.trouble == nil)
		s.trouble = err
		if changed {
			a.dirty.ring()
		}
	})
}

// stay does what a member does until the session is lost. At the end of the
// program the session is left for the next one to take over.
func (a *Agent) stay(ctx context.Context, session store.Session) error {
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = session.Close(closing, true)
	}()
	a.names.ring()
	look := time.NewTicker(audit)
	defer look.Stop()
	unsure := false // whether what was written last was written
	for {
		err := errors.Join(a.maintain(ctx, session, unsure), a.cry(ctx))
		unsure = errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrConflict)
		var lost *store.LostPoolError
		switch {
		case errors.As(err, &lost), errors.Is(err, store.ErrNotFound):
			// Somebody has taken something away: begin anew, which verifies.
			return err
		case errors.Is(err, store.ErrConflict):
			a.member.ring() // read again
		case err != nil:
			a.trouble(err)
		default:
			a.trouble(nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-session.Lost():
			return fmt.Errorf("session lost: %w", store.ErrUnreachable)
		case <-a.rejoin:
			return errors.New("what this host owns is verified anew")
		case <-a.member:
		case <-look.C:
			if err := a.assure(ctx, session); err != nil {
				return err
			}
		}
	}
}

// assure asks the store whether this host still owns what it believes to own: a
// session may outlive a backup's restoration that its pools do not.
func (a *Agent) assure(ctx context.Context, session store.Session) error {
	if !a.cfg.Store.Can().Claims {
		return nil
	}
	var owned []store.Claim
	a.with(func(s *state) { owned = slices.Clone(s.memory.Owned) })
	self := session.Self()
	self.Pools = poolsOf(owned)
	_, err := session.Update(ctx, self, owned)
	var lost *store.LostPoolError
	if errors.As(err, &lost) || errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil // other failures are told where something is to be done
}

// cry tells a store that wants to know that the overlay works here.
func (a *Agent) cry(ctx context.Context) error {
	crier, wants := a.cfg.Store.(store.Crier)
	due := false
	a.with(func(s *state) { due = wants && s.cries() })
	if !due {
		return nil
	}
	if err := crier.Ready(ctx); err != nil {
		return err
	}
	a.with(func(s *state) { s.cried = true })
	return nil
}

// cries tells that pods can be started here and nobody has been told. The
// network's definition is written before a pass ends.
func (s *state) cries() bool {
	return !s.cried && s.ready && s.joined && s.passes.Err == nil && s.plan.Usable()
}

// maintain claims what networks need, gives back what they don't, and keeps the
// host's record as it is. Where it is not sure of what it owns it looks first.
func (a *Agent) maintain(ctx context.Context, session store.Session, unsure bool) error {
	var networks []store.Network
	var live bool
	a.with(func(s *state) { networks, live = s.view.Networks, s.live && !s.left })
	if !live { // what joining has found is no older than a moment
		return nil
	}
	if !a.cfg.Store.Can().Claims {
		if err := a.verify(ctx, session); err != nil {
			return err
		}
		return a.updateRecord(ctx, session)
	}
	var errs []error
	if unsure {
		if err := a.adopt(ctx, session); err != nil {
			return err
		}
	}
	for _, n := range networks {
		var err error
		if n.Leaving {
			err = a.giveBack(ctx, session, n)
		} else {
			err = a.claimFor(ctx, session, n)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, a.updateRecord(ctx, session))...)
}

// updateRecord writes the host's record where it differs from what the store
// has.
func (a *Agent) updateRecord(ctx context.Context, session store.Session) error {
	have := session.Self()
	var want store.Node
	var owned []store.Claim
	known := true
	a.with(func(s *state) {
		owned = slices.Clone(s.memory.Owned)
		// What this host wrote last counts, unless somebody has changed it since.
		if seen, ok := s.view.Node(s.self.ID); s.live && s.view.Revision > have.Revision {
			have, known = seen, ok
		}
		want = s.self
		want.Name, want.Pools = a.cfg.Name, poolsOf(owned)
		if s.local.IsValid() {
			want.VTEP = []netip.Addr{s.local}
		}
		if s.plan.MTU != 0 {
			want.MTU = s.plan.MTU
		}
	})
	if known && have.Equal(want) {
		return nil
	}
	got, err := session.Update(ctx, want, owned)
	if err != nil {
		return err
	}
	a.with(func(s *state) { s.self = got })
	return nil
}

func poolsOf(claims []store.Claim) map[string][]netip.Prefix {
	pools := map[string][]netip.Prefix{}
	for _, c := range claims {
		pools[c.Network] = append(pools[c.Network], c.Pool)
	}
	return pools
}
