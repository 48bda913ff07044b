package attach

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// RemoveNetwork takes a network's shared half away: its rules, its bridge, and
// the resolver if no other network needs it. It refuses while the network has
// attachments.
func (a *Attacher) RemoveNetwork(ctx context.Context, req *cni.Request) error {
	conf, err := a.Mode.Parse(req)
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	w, err := conf.Wire(wire.Attachment{Network: req.Conf.Name}, Grant{})
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	bridges, err := a.lockBridges(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer bridges.Close()
	if err := a.unused(req.Conf.Name); err != nil {
		return err
	}
	return errors.Join(
		a.removeNetworkRules(ctx, conf, w.Shared),
		removeLinks(w.Shared),
		cni.Wrap(cni.CodeNames, a.Resolver.Dismiss(ctx)),
	)
}

func (a *Attacher) unused(network string) error {
	err := a.Ledger.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments(network)
		if err == nil && len(records) > 0 {
			return cni.Errorf(cni.CodeConfig, "network %s has %d attachments, the first is container %s", network, len(records), records[0].Container)
		}
		return err
	})
	return cni.Wrap(cni.CodeStore, err)
}

// removeNetworkRules is needed only where the last DEL was cut short; DEL of
// the last attachment has removed them otherwise.
func (a *Attacher) removeNetworkRules(ctx context.Context, conf Conf, shared wire.Shared) error {
	if shared.Network.IsZero() {
		return nil
	}
	backend, err := a.backend(a.choose(conf))
	if err != nil {
		return err
	}
	return rulesError(backend.RemoveNetwork(ctx, shared.Network.Network, nil))
}

// removeLinks deletes the network's own links. The bridge goes last, because a
// place in one of its VLANs has a port there.
func removeLinks(shared wire.Shared) error {
	if shared.Bridge == nil {
		return nil
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	if g := shared.VLANGateway; g != nil {
		if err := host.DeleteLink(g.Port); err != nil {
			return cni.Wrap(cni.CodeKernel, err)
		}
	}
	return cni.Wrap(cni.CodeKernel, host.RemoveBridge(shared.Bridge.Name))
}
