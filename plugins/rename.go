package plugins

import (
	"context"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/attach"
)

// Rename has an attachment of ours answer to other names, and returns when every
// query sent from now on gets them.
func (h Host) Rename(ctx context.Context, network, container, ifname string, names []string) error {
	a, err := h.attacher(attach.Mode{})
	if err != nil {
		return err
	}
	return a.Rename(ctx, ledger.Key{Network: network, Container: container, IfName: ifname}, names)
}
