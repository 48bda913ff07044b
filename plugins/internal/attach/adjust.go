package attach

import (
	"context"
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// adjust does the part of a Wiring that concerns a link that is there already:
// limits and settings.
func adjust(host *kernel.Host, container *kernel.Container, owned wire.Owned, u *undo) error {
	if b := owned.Bandwidth; b != nil {
		err := host.Shape(container, *b)
		if errors.Is(err, kernel.ErrShaped) {
			return err // somebody else's limits: they stay
		}
		u.push("limits", func(context.Context) error { return host.Unshape(*b) })
		if err != nil {
			return err
		}
	}
	if t := owned.Tuning; t != nil {
		u.push("settings", func(context.Context) error { return container.Restore(t.Link, t.Backup) })
		return container.Tune(*t)
	}
	return nil
}

// amend gives the result of the plugins before with what has changed.
func (p *plan) amend(result *current.Result, host *kernel.Host, container *kernel.Container) (*current.Result, error) {
	if t := p.wiring.Owned.Tuning; t != nil {
		links, err := container.Describe(t.Link)
		if err != nil {
			return nil, cni.Wrap(cni.CodeKernel, err)
		}
		for _, i := range result.Interfaces {
			if i.Sandbox != "" && i.Name == t.Link {
				i.Mac, i.Mtu = links[0].MAC.String(), links[0].MTU
			}
		}
	}
	if server := p.resolver(); server.IsValid() {
		result.DNS.Nameservers = []string{server.String()}
		result.DNS.Search = append([]string{BaseDomain}, result.DNS.Search...)
	}
	return result, p.addIfb(result, host)
}

// addIfb lists the device through which the container's traffic is led, as the
// reference plugin does.
func (p *plan) addIfb(result *current.Result, host *kernel.Host) error {
	b := p.wiring.Owned.Bandwidth
	if b == nil || b.Egress.IsZero() {
		return nil
	}
	links, err := host.Describe(b.Ifb)
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	result.Interfaces = append(result.Interfaces, interfaceOf(links[0], ""))
	return nil
}

// unshape takes away what limits an attachment's link, whose name on the host
// the record tells. Without a record the ifb's name is enough for a link that
// goes too.
func (a *Attacher) unshape(host *kernel.Host, at wire.Attachment, record *ledger.Record) error {
	limits := wire.Bandwidth{Ifb: at.HostName(wire.IfbPrefix)}
	if record == nil {
		return host.Unshape(limits)
	}
	if p, err := a.replay(*record); err == nil && p.wiring.Owned.Bandwidth != nil {
		limits = *p.wiring.Owned.Bandwidth
	}
	return host.Unshape(limits)
}

// disconnect takes limits off a link that stays, and cuts it off if it is ours.
func (a *Attacher) disconnect(at wire.Attachment, record *ledger.Record) error {
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	err = errors.Join(a.unshape(host, at, record), a.dismiss(host, record))
	if at.Part == "" {
		err = errors.Join(err, host.Disconnect(at.HostName(wire.VethPrefix)))
	}
	return cni.Wrap(cni.CodeKernel, err)
}

// restore gives the link back the settings that it had before ADD, if the
// caller names its namespace, and removes the file that holds them. It does not
// fail: the link goes in most cases, and what can't be restored must not keep
// the rest of the container's network from being removed.
func (a *Attacher) restore(req *cni.Request, at wire.Attachment, record *ledger.Record) {
	if a.Mode.Backup == nil {
		return
	}
	then := &cni.Request{ContainerID: at.Container, IfName: at.IfName, Stdin: req.Stdin}
	if record != nil {
		then.Stdin = record.Request
	}
	file := a.Mode.Backup(then)
	container, err := kernel.OpenContainer(req.Netns, req.AllowOwnNetns)
	if err != nil {
		err = kernel.RemoveBackup(file) // the link has gone with its namespace
	} else {
		defer container.Close()
		err = container.Restore(at.IfName, file)
	}
	if err != nil {
		a.Log.Warn("settings of the link could not be restored", "attachment", at, "error", err)
	}
}
