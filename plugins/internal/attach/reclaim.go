package attach

import (
	"context"
	"errors"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

func isExhausted(err error) bool {
	var failure *cni.Error
	return errors.As(err, &failure) && failure.Code == cni.CodeExhausted
}

// growing bounds the wait for more addresses.
const growing = 10 * time.Second

// reserveGrown waits for a network that grows, and reserves then. Others wait
// with it: it may be used up again.
func (a *Attacher) reserveGrown(ctx context.Context, p *plan, u *undo, exhausted error) error {
	ctx, cancel := context.WithTimeout(ctx, growing)
	defer cancel()
	for isExhausted(exhausted) {
		g, ok := p.conf.(Grower)
		if !ok {
			return exhausted
		}
		if err := g.Grow(ctx, a.Ledger.Dir()); err != nil {
			return cni.Errorf(cni.CodeExhausted, "%w; %w", exhausted, err)
		}
		again, err := a.parse(p.req)
		if err != nil {
			return err
		}
		p.conf, p.source, p.addressing = again.conf, again.source, again.addressing
		exhausted = a.reserve(ctx, p, u)
	}
	return exhausted
}

// reclaim takes away the attachments of the network whose namespaces are gone:
// their containers have died and nobody called DEL. It is done only when there
// is no free address left, and tells whether it found any.
func (a *Attacher) reclaim(ctx context.Context, p *plan) bool {
	var records []ledger.Record
	err := a.Ledger.View(func(tx *ledger.Tx) (err error) {
		records, err = tx.Attachments(p.at.Network)
		return err
	})
	if err != nil {
		return false
	}
	found := false
	var sockets held
	defer sockets.close()
	for _, r := range records {
		if r.Netns == "" || r.Part != p.at.Part || kernel.IsNamespace(r.Netns) {
			continue
		}
		if err := a.remove(ctx, p.req, wire.Attachment(r.Key), firewall.WithPark(sockets.keep)); err != nil {
			a.Log.Warn("can't reclaim a dead attachment", "attachment", r.Key, "error", err)
			continue
		}
		a.Log.Info("reclaimed a dead attachment", "attachment", r.Key, "namespace", r.Netns)
		found = true
	}
	return found
}
