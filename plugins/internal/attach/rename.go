package attach

import (
	"context"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// Rename has the resolver answer to other names for an attachment, and returns
// when it does. The hostname stays. An attachment without names is left alone.
func (a *Attacher) Rename(ctx context.Context, key ledger.Key, own []string) error {
	var generation uint64
	var served bool
	err := a.Ledger.Update(func(tx *ledger.Tx) error {
		record, found, err := tx.Attachment(key)
		if served = found && !record.Names.IsZero(); err != nil || !served {
			return err
		}
		record.Names.Own = own
		err = tx.Put(record)
		generation = tx.Generation()
		return err
	})
	if err != nil || !served {
		return refused(err)
	}
	if _, err := a.Resolver.Announce(ctx, client.Change{Generation: generation, Network: key.Network}); err != nil {
		return cni.Errorf(cni.CodeNames, "publish names of network %s: %w", key.Network, err)
	}
	return nil
}
