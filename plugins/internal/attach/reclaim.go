package attach

import (
	"context"
	"errors"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

func isExhausted(err error) bool {
	var failure *cni.Error
	return errors.As(err, &failure) && failure.Code == cni.CodeExhausted
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
	for _, r := range records {
		if r.Netns == "" || r.Part != p.at.Part || kernel.IsNamespace(r.Netns) {
			continue
		}
		if err := a.remove(ctx, p.req, wire.Attachment(r.Key)); err != nil {
			a.Log.Warn("can't reclaim a dead attachment", "attachment", r.Key, "error", err)
			continue
		}
		a.Log.Info("reclaimed a dead attachment", "attachment", r.Key, "namespace", r.Netns)
		found = true
	}
	return found
}
