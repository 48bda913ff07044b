package agent

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// join opens a session and verifies what this host owns.
func (a *Agent) join(ctx context.Context) (store.Session, error) {
	r, err := a.registration()
	if err != nil {
		return nil, err
	}
	session, err := a.cfg.Store.Session(ctx, r)
	var reverted *store.RevertedError
	if errors.As(err, &reverted) {
		a.with(func(s *state) { s.memory.Safe = true })
		if err := a.saveMemory(); err != nil {
			return nil, err
		}
		a.log.Error("joining again with what this host owns; nothing is deleted", "because", err)
		r.AcceptReverted, r.Needs = true, nil
		session, err = a.cfg.Store.Session(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	a.rememberSession(session.ID())
	self, entry := session.Self(), session.Entry()
	a.with(func(s *state) {
		s.session, s.self, s.tombstone = session, self, entry.Tombstone
		if self.ID != s.memory.ID {
			// Somebody else has named this host; it keeps the name when the store
			// is replaced by one that asks for it.
			s.memory.ID = self.ID
		}
		if len(self.VTEP) > 0 && !slices.Contains(self.VTEP, s.local) {
			s.local = self.VTEP[0]
		}
	})
	if t := entry.Tombstone; t != nil {
		a.log.Error("this host was reclaimed while it was away", "because", t.Reason, "pools", t.Pools)
	}
	if err := a.takePossession(ctx, session, entry); err != nil {
		_ = session.Close(context.WithoutCancel(ctx), true)
		return nil, err
	}
	a.with(func(s *state) {
		s.joined, s.cried = true, false
		if s.live { // otherwise a view comes, and is looked at then
			a.dirty.ring()
		}
	})
	a.trouble(nil)
	return session, nil
}

// registration is who this host is, now.
func (a *Agent) registration() (store.Registration, error) {
	local, err := a.localAddresses()
	if err != nil {
		return store.Registration{}, err
	}
	vteps, err := a.vteps(local)
	if err != nil {
		return store.Registration{}, err
	}
	takeover, _ := os.ReadFile(a.sessionFile())
	mtu := a.firstMTU(vteps)
	r := store.Registration{Local: local, Boot: a.boot, Takeover: strings.TrimSpace(string(takeover)), Opened: a.rememberSession}
	a.with(func(s *state) {
		r.Cluster, r.Node = s.memory.Cluster, s.self
		r.Node.ID, r.Node.Epoch, r.Node.Pools = s.memory.ID, s.memory.Epoch, nil
		r.Node.MTU = cmp.Or(s.plan.MTU, mtu)
		if s.seen {
			r.Seen = s.view.Revision
		}
		if r.AcceptReverted = s.memory.Safe; s.memory.Safe {
			r.Seen = 0
		} else if a.cfg.Store.Can().Claims && !s.left {
			r.Needs = a.needs
		}
		r.Node.VTEP, r.Node.Name = vteps, a.cfg.Name
	})
	return r, nil
}

// firstMTU is what will fit into the overlay, as far as that is known without
// the peers, so that the record need not be written twice.
func (a *Agent) firstMTU(vteps []netip.Addr) int {
	if len(vteps) == 0 {
		return 0
	}
	device, _, err := a.host.UnderlayMTU(vteps[0])
	if err != nil {
		return 0
	}
	return device - wire.Overhead(vteps[0])
}

func (a *Agent) sessionFile() string { return filepath.Join(a.cfg.StateDir, "overlay", "session") }

func (a *Agent) rememberSession(id string) {
	if id == "" {
		return
	}
	if _, err := handover.ReplaceForBoot(a.sessionFile(), []byte(id+"\n"), 0o600); err != nil {
		a.log.Warn("the next start will wait for this session to expire", "error", err)
	}
}
