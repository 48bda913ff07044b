package attach

import (
	"context"
	"errors"
	"net/netip"

	"github.com/netctl/netctl/dnsd/inside"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
)

// openInside makes the resolver's sockets in the container's namespace, if the
// attachment wants them and the container has none through another network.
// They are the resolver's once it was told; the caller closes its own ones.
func (a *Attacher) openInside(p *plan, container *kernel.Container) error {
	w, err := p.conf.Wire(p.at, Grant{})
	if err != nil || !w.Owned.ResolverInside {
		return cni.Wrap(cni.CodeConfig, err)
	}
	others, err := a.servedInside(p.at.Container, ledger.Key(p.at))
	if err != nil {
		return err
	}
	if len(others) > 0 {
		p.inside.Port = others[0].Names.Inside
		return nil
	}
	// With lo down the address is nobody's, and answers would have another source.
	if err := container.LoopbackUp(); err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	err = container.Do(func() (err error) {
		p.inside, err = inside.Open(0)
		return err
	})
	return cni.Wrap(cni.CodeNames, err)
}

// servedInside are a container's attachments that share the resolver in its
// namespace, but for one.
func (a *Attacher) servedInside(container string, but ledger.Key) (list []ledger.Record, err error) {
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		records, err := tx.ByContainer(container)
		for _, r := range records {
			if r.Key != but && r.Names.Inside != 0 {
				list = append(list, r)
			}
		}
		return err
	})
	return list, refused(err)
}

// leadInside has port 53 lead to the resolver's sockets in the container.
func (p *plan) leadInside(container *kernel.Container, u *undo) error {
	if p.inside.UDP == nil {
		return nil
	}
	u.push("resolver's rules", func(context.Context) error { return container.Do(firewall.LeaveInside) })
	err := container.Do(func() error { return firewall.LeadInside(insideAt(p.inside.Port)) })
	return cni.Wrap(cni.CodeFirewall, err)
}

// leaveInside takes that back for a container that goes on without the
// network. The namespace may be gone, and the rules with it.
func (a *Attacher) leaveInside(record *ledger.Record) error {
	if record == nil || record.Names.Inside == 0 {
		return nil
	}
	others, err := a.servedInside(record.Container, record.Key)
	if err != nil || len(others) > 0 {
		return err
	}
	container, err := kernel.OpenContainer(record.Netns, false)
	if errors.Is(err, kernel.ErrNoNamespace) || errors.Is(err, kernel.ErrOwnNamespace) {
		return nil
	}
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer container.Close()
	return cni.Wrap(cni.CodeFirewall, container.Do(firewall.LeaveInside))
}

func checkInside(container *kernel.Container, port uint16) error {
	if port == 0 {
		return nil
	}
	return container.Do(func() error { return firewall.CheckInside(insideAt(port)) })
}

func insideAt(port uint16) netip.AddrPort { return netip.AddrPortFrom(inside.Addr, port) }
