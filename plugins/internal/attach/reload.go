package attach

import (
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
)

// Replay ensures anew what an attachment shares with others (bridge, gateway
// addresses, forwarding) and returns the rules it asked for at ADD. The rules
// of all attachments are then made true together, see firewall.Backend.Restore.
func (a *Attacher) Replay(record ledger.Record) (firewall.Rules, error) {
	p, err := a.replay(record)
	if err != nil {
		return firewall.Rules{}, err
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return firewall.Rules{}, cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	shared := p.wiring.Shared
	if shared.Bridge != nil {
		if err := host.EnsureBridge(*shared.Bridge); err != nil {
			return firewall.Rules{}, cni.Wrap(cni.CodeKernel, err)
		}
	}
	return p.rules(), cni.Wrap(cni.CodeKernel, p.prepareHost(host))
}
