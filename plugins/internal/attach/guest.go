package attach

import (
	"context"
	"errors"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// findGuests looks in the result of the plugins before us for links of the host
// that nobody uses yet, a tap device for instance: a mode that makes bridge
// ports takes them in too, as it does not care what kind of link is behind one
// (CNI conventions, "prevResult"; spec cni C155). Which ones they were goes into
// the record, so that DEL lets these go and no others.
func (p *plan) findGuests(host *kernel.Host) error {
	previous, err := p.req.PrevResult()
	if err != nil || previous == nil {
		return err
	}
	w, err := p.conf.Wire(p.at, Grant{})
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	veth, ok := w.Owned.Link.(wire.Veth)
	if !ok || veth.Bridge == "" {
		return nil
	}
	for _, link := range previous.Interfaces {
		if link.Sandbox != "" || link.Name == veth.Host {
			continue
		}
		free, err := host.IsFree(link.Name)
		if err != nil {
			return cni.Wrap(cni.CodeKernel, err)
		}
		if free {
			p.guests = append(p.guests, link.Name)
		}
	}
	return nil
}

// join makes the guests ports of the bridge.
func join(host *kernel.Host, owned wire.Owned, u *undo) error {
	veth, _ := owned.Link.(wire.Veth)
	for _, name := range owned.Guests {
		u.push("guest "+name, func(context.Context) error { return host.Leave(name, veth.Bridge) })
		if err := host.Join(veth.GuestPort(name)); err != nil {
			return err
		}
	}
	return nil
}

// dismiss lets the guests of an attachment go.
func (a *Attacher) dismiss(host *kernel.Host, record *ledger.Record) error {
	if record == nil || len(record.Guests) == 0 {
		return nil
	}
	p, err := a.replay(*record)
	if err != nil {
		return err
	}
	veth, _ := p.wiring.Owned.Link.(wire.Veth)
	var failures []error
	for _, name := range record.Guests {
		failures = append(failures, host.Leave(name, veth.Bridge))
	}
	return errors.Join(failures...)
}
