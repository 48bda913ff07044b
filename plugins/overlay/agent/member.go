package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// beMember keeps a session with the store: it enters the host, makes sure of
// its pools before anything else, claims what is missing, and keeps the host's
// record up to date. When the session is lost it begins anew.
func (a *Agent) beMember(ctx context.Context) error {
	var b backoff
	for ctx.Err() == nil {
		session, err := a.join(ctx)
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

// join opens a session and verifies what this host owns.
func (a *Agent) join(ctx context.Context) (store.Session, error) {
	r, err := a.registration()
	if err != nil {
		return nil, err
	}
	session, err := a.cfg.Store.Session(ctx, r)
	var reverted *store.RevertedError
	if errors.As(err, &reverted) {
		a.with(func(s *state) { s.safe = true })
		a.log.Error("joining again with what this host owns; nothing is deleted", "because", err)
		r.AcceptReverted = true
		session, err = a.cfg.Store.Session(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	a.rememberSession(session)
	self := session.Self()
	a.with(func(s *state) {
		s.session, s.self = session, self
		if self.ID != s.memory.ID {
			// Somebody else has named this host; it keeps the name when the store
			// is replaced by one that asks for it.
			s.memory.ID = self.ID
		}
		if len(self.VTEP) > 0 && !slices.Contains(self.VTEP, s.local) {
			s.local = self.VTEP[0]
		}
	})
	if err := a.verify(ctx, session); err != nil {
		_ = session.Close(context.WithoutCancel(ctx), true)
		return nil, err
	}
	a.with(func(s *state) { s.joined, s.cried = true, false })
	a.dirty.ring()
	a.trouble(nil)
	return session, nil
}

// registration is who this host is, now.
func (a *Agent) registration() (store.Registration, error) {
	local, err := a.host.LocalAddresses(handover.Device)
	if err != nil {
		return store.Registration{}, err
	}
	vteps, err := a.vteps(local)
	if err != nil {
		return store.Registration{}, err
	}
	takeover, _ := os.ReadFile(a.sessionFile())
	r := store.Registration{Local: local, Boot: a.boot, Takeover: strings.TrimSpace(string(takeover))}
	a.with(func(s *state) {
		r.Cluster, r.Node = s.memory.Cluster, s.self
		r.Node.ID, r.Node.Epoch, r.Node.Pools = s.memory.ID, s.memory.Epoch, nil
		if s.plan.MTU != 0 {
			r.Node.MTU = s.plan.MTU
		}
		if s.seen {
			r.Seen = s.view.Revision
		}
		if s.safe {
			r.Seen = 0
		}
		r.Node.VTEP, r.Node.Name = vteps, a.cfg.Name
	})
	return r, nil
}

// vteps are the tunnel addresses to register: none where the store knows them.
func (a *Agent) vteps(local []netip.Addr) ([]netip.Addr, error) {
	if a.cfg.VTEP != "" {
		addr, err := a.givenAddress()
		return []netip.Addr{addr}, err
	}
	if !a.cfg.Store.Can().Records {
		return nil, nil
	}
	if len(local) == 0 {
		return nil, errors.New("this host has no address that others could reach: give one with --vtep")
	}
	return local[:1], nil
}

// givenAddress is what --vtep says: an address, or a link that has one.
func (a *Agent) givenAddress() (netip.Addr, error) {
	if addr, err := netip.ParseAddr(a.cfg.VTEP); err == nil {
		return addr, nil
	}
	all, err := a.host.AddressesOf(a.cfg.VTEP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--vtep %s is neither an address nor a link of this host: %w", a.cfg.VTEP, err)
	}
	if len(all) == 0 {
		return netip.Addr{}, fmt.Errorf("--vtep %s: the link has no address", a.cfg.VTEP)
	}
	return all[0], nil
}

// tunnelAddress is this host's before it has joined: what the last view says,
// as far as the host has it.
func (a *Agent) tunnelAddress(v store.View, self store.NodeID) (netip.Addr, error) {
	local, err := a.host.LocalAddresses(handover.Device)
	if err != nil {
		return netip.Addr{}, err
	}
	var found netip.Addr
	for _, n := range v.Nodes {
		for _, vtep := range n.VTEP {
			if slices.Contains(local, vtep) && (n.ID == self || !found.IsValid() && a.cfg.VTEP == "") {
				found = vtep
				a.with(func(s *state) {
					if !a.cfg.Store.Can().Records {
						s.self.ID = n.ID
					}
				})
			}
		}
	}
	if a.cfg.VTEP != "" {
		return a.givenAddress()
	}
	if !found.IsValid() && len(local) > 0 && a.cfg.Store.Can().Records {
		found = local[0]
	}
	if !found.IsValid() {
		return found, errors.New("this host has none of the tunnel addresses that it knows of")
	}
	return found, nil
}

// checkAddress has the record changed when the tunnel's address did (DHCP).
func (a *Agent) checkAddress() {
	if !a.cfg.Store.Can().Records {
		return
	}
	local, err := a.host.LocalAddresses(handover.Device)
	if err != nil {
		return
	}
	vteps, err := a.vteps(local)
	if err != nil || len(vteps) == 0 {
		return
	}
	a.with(func(s *state) {
		if s.local != vteps[0] && (!s.local.IsValid() || !slices.Contains(local, s.local) || a.cfg.VTEP != "") {
			s.local = vteps[0]
			a.member.ring()
			a.dirty.ring()
		}
	})
}

// verify compares the claims in the store with what this host remembers, by
// their tokens. A claim that is gone, or was made anew by somebody, is lost:
// no more addresses are given out from it.
func (a *Agent) verify(ctx context.Context, session store.Session) error {
	now, err := session.Owned(ctx)
	if err != nil {
		return err
	}
	var safe bool
	var remembered []store.Claim
	a.with(func(s *state) { safe, remembered = s.safe, slices.Clone(s.memory.Owned) })
	if safe {
		if now, err = a.restoreClaims(ctx, session, remembered, now); err != nil {
			return err
		}
	}
	return a.own(now)
}

// restoreClaims claims again what a restored store has forgotten.
func (a *Agent) restoreClaims(ctx context.Context, session store.Session, remembered, now []store.Claim) ([]store.Claim, error) {
	for _, c := range remembered {
		if slices.ContainsFunc(now, func(o store.Claim) bool { return o.Network == c.Network && o.Pool == c.Pool }) {
			continue
		}
		again, err := session.Claim(ctx, store.ClaimRequest{Network: c.Network, Is4: c.Pool.Addr().Is4(), Prefer: c.Pool})
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return now, err
		default:
			now = append(now, again)
		}
	}
	return now, nil
}

// own makes these claims the host's, and those that it had besides lost.
func (a *Agent) own(now []store.Claim) error {
	var lost []store.Claim
	a.with(func(s *state) { lost = s.lostAmong(now) })
	for _, c := range lost {
		a.log.Error("pool lost: containers in it keep their addresses and are cut off from other hosts", "network", c.Network, "pool", c.Pool)
	}
	// First of all nobody gets an address of theirs any more.
	if err := a.withhold(lost); err != nil {
		return err
	}
	var m memory
	changed := false
	a.with(func(s *state) {
		s.memory.Lost = append(s.memory.Lost, lost...)
		s.memory.Lost = slices.DeleteFunc(s.memory.Lost, func(c store.Claim) bool {
			return slices.ContainsFunc(now, func(o store.Claim) bool { return o.Network == c.Network && o.Pool == c.Pool && o.Token != 0 })
		})
		cluster := s.memory.Cluster
		if s.seen && s.live && s.view.Cluster.ID != "" {
			cluster = s.view.Cluster.ID
		}
		changed = a.saved != s.memory.ID || !slices.Equal(s.memory.Owned, now) || cluster != s.memory.Cluster || s.self.Epoch != s.memory.Epoch
		s.memory.Owned, s.memory.Cluster = slices.Clone(now), cluster
		s.memory.Epoch = max(s.memory.Epoch, s.self.Epoch)
		m = s.memory
	})
	if !changed {
		return nil
	}
	a.dirty.ring()
	a.saved = m.ID
	return m.save(a.dir)
}

// lostAmong are the claims that the host believed to be its own and that are
// not among these, or with another token: made anew by somebody. A claim of a
// peers file has no token, and after the store went back in time what was
// claimed again has a new one.
func (s *state) lostAmong(now []store.Claim) []store.Claim {
	return slices.DeleteFunc(slices.Clone(s.memory.Owned), func(c store.Claim) bool {
		return slices.ContainsFunc(now, func(o store.Claim) bool {
			return o.Network == c.Network && o.Pool == c.Pool && (o.Token == c.Token || c.Token == 0 || s.safe)
		})
	})
}

// withhold tells the plugin to give nothing out from lost pools, without
// waiting for the worker.
func (a *Agent) withhold(lost []store.Claim) error {
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

func (a *Agent) sessionFile() string { return filepath.Join(a.cfg.StateDir, "overlay", "session") }

func (a *Agent) rememberSession(session store.Session) {
	if session.ID() == "" {
		return
	}
	if _, err := handover.Replace(a.sessionFile(), []byte(session.ID()+"\n"), 0o600); err != nil {
		a.log.Warn("the next start will wait for this session to expire", "error", err)
	}
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
	for {
		err := errors.Join(a.maintain(ctx, session), a.cry(ctx))
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
		case <-a.member:
		case <-look.C:
		}
	}
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
	return !s.cried && s.ready && s.joined && s.passes.Err == nil && len(s.plan.Networks) > 0
}

// maintain claims what networks need, gives back what they don't, and keeps the
// host's record as it is.
func (a *Agent) maintain(ctx context.Context, session store.Session) error {
	if !a.cfg.Store.Can().Claims {
		if err := a.verify(ctx, session); err != nil {
			return err
		}
		return a.updateRecord(ctx, session)
	}
	var networks []store.Network
	var live bool
	a.with(func(s *state) { networks, live = s.view.Networks, s.live && !s.left })
	if !live {
		return nil
	}
	var errs []error
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

// claimFor makes sure that the network has a pool of each family with room in
// it.
func (a *Agent) claimFor(ctx context.Context, session store.Session, n store.Network) error {
	for _, is4 := range []bool{true, false} {
		if !slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Addr().Is4() == is4 }) {
			continue
		}
		need, err := a.needsPool(n.Name, is4)
		if err != nil || !need {
			if err != nil {
				return err
			}
			continue
		}
		claim, err := session.Claim(ctx, store.ClaimRequest{Network: n.Name, Is4: is4, Prefer: a.lastPool(n.Name, is4)})
		var exhausted *store.ExhaustedError
		if errors.As(err, &exhausted) {
			a.noteExhausted(n.Name, err)
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

// noteExhausted keeps the reason for status, and tells it once.
func (a *Agent) noteExhausted(network string, err error) {
	a.with(func(s *state) {
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
	return a.own(append(now, claim))
}

// lastPool is a pool that the host had and might get again.
func (a *Agent) lastPool(network string, is4 bool) (last netip.Prefix) {
	a.with(func(s *state) {
		for _, c := range s.memory.Lost {
			if c.Network == network && c.Pool.Addr().Is4() == is4 {
				last = c.Pool
			}
		}
	})
	return last
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
	return a.own(rest)
}

// forget takes claims out of memory that were given back, so that they don't
// count as lost.
func (a *Agent) forget(claims []store.Claim) {
	a.with(func(s *state) {
		s.memory.Owned = slices.DeleteFunc(s.memory.Owned, func(c store.Claim) bool { return slices.Contains(claims, c) })
	})
}

// updateRecord writes the host's record where it differs from what the store
// has.
func (a *Agent) updateRecord(ctx context.Context, session store.Session) error {
	var want, have store.Node
	var owned []store.Claim
	var known bool
	a.with(func(s *state) {
		owned = slices.Clone(s.memory.Owned)
		have, known = s.view.Node(s.self.ID)
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
