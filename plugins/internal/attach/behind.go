package attach

import (
	"context"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// createBehind attaches a container for which the bridge has no port (see
// kernel/uplink.go). The ledger learns first that the link has no end on the
// host, so that DEL finds it whenever we are killed.
func (a *Attacher) createBehind(p *plan, host *kernel.Host, container *kernel.Container, u *undo) (kernel.Made, error) {
	want := p.wiring.Owned.Link.(wire.Veth)
	p.behind, p.record.LinkInside = true, true
	err := a.Ledger.Update(func(tx *ledger.Tx) error {
		err := tx.Put(p.record)
		p.generation = tx.Generation()
		return err
	})
	if err != nil {
		return kernel.Made{}, refused(err)
	}
	made, err := host.CreateBehind(container, want)
	if err != nil {
		return made, cni.Wrap(cni.CodeKernel, err)
	}
	a.Log.Info("attached behind the uplink of the bridge", "bridge", want.Bridge, "container", p.at.Container)
	u.push("link behind the uplink", func(context.Context) error { return container.DeleteLink(want.Container) })
	return made, nil
}
