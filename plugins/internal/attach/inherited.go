package attach

import (
	"context"
	"errors"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// removeInherited removes what the reference plugin made for an attachment that
// the ledger does not know: rules, the host's links, and the link in the
// container.
func (a *Attacher) removeInherited(ctx context.Context, host *kernel.Host, req *cni.Request, at wire.Attachment) error {
	var failures []error
	if a.Mode.Inherited != nil {
		in := a.Mode.Inherited(at, addressesBefore(req))
		for _, name := range in.Links {
			failures = append(failures, cni.Wrap(cni.CodeKernel, host.DeleteLink(name)))
		}
		failures = append(failures, rulesError(firewall.RemoveInherited(ctx, a.Log, in)))
	}
	if at.Part == "" {
		failures = append(failures, cni.Wrap(cni.CodeKernel, a.deleteInherited(host, req)))
	}
	return errors.Join(failures...)
}

// addressesBefore are the container's, where a previous result tells them.
func addressesBefore(req *cni.Request) []wire.Address {
	previous, err := ReadPrevious(req)
	if err != nil {
		return nil // a DEL must do without (spec cni C085, C086)
	}
	return previous.Addresses
}

// deleteInherited deletes the interface in the container if it is one that this
// mode would make with this configuration: the other end of a port of its
// bridge, or an interface of the same kind on a parent. The name on the host is
// random, so only the living namespace leads to it; with a dead one it has gone.
func (a *Attacher) deleteInherited(host *kernel.Host, req *cni.Request) error {
	conf, err := a.Mode.Parse(req)
	if err != nil || req.Netns == "" {
		return nil // a configuration that has become invalid leads nowhere
	}
	w, err := conf.Wire(a.attachment(req), Grant{})
	if err != nil || w.Owned.Link == nil {
		return nil // as above
	}
	container, err := kernel.OpenContainer(req.Netns, false)
	if err != nil {
		return nil // the link has gone with its namespace
	}
	defer container.Close()
	made, err := host.WouldMake(container, w.Owned.Link)
	if err != nil || !made {
		return err
	}
	if used, err := a.belongsToAnother(req); used || err != nil {
		return err
	}
	return container.DeleteLink(req.IfName)
}

// checkInherited compares an attachment that the ledger does not know with the
// result of the ADD that made it: that of the reference plugins, before the node
// was switched to us. What they do in another way than we is left out; what a
// chained plugin of theirs did beside the link can't be told.
func (a *Attacher) checkInherited(ctx context.Context, req *cni.Request, container *kernel.Container, previous *current.Result) error {
	p, err := a.parse(req)
	if err != nil {
		return err
	}
	if err := p.addressing.check(ctx, p.at, previous); err != nil && !a.Mode.Chained {
		return err
	}
	if err := checkMAC(container, req, previous); err != nil {
		return err
	}
	if found, err := container.HasLink(req.IfName); err != nil || !found {
		return cni.Errorf(cni.CodeCheck, "attachment %s has no interface %s in %s", p.at, req.IfName, req.Netns).
			WithHint("DEL it and ADD it again")
	}
	if err := p.wireInherited(previous); err != nil {
		return err
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	return cni.Wrap(cni.CodeCheck, kernel.Check(host, container, p.wiring))
}

// wireInherited computes the Wiring from a result. Routes are what the reference
// installs of them, without MTU and the like.
func (p *plan) wireInherited(previous *current.Result) error {
	before, err := ReadPrevious(p.req)
	if err != nil {
		return err
	}
	p.grant.Addresses = before.Addresses
	routes, err := routesOf(previous.Routes)
	if err != nil {
		return cni.Errorf(cni.CodeConfig, "key prevResult: %w", err)
	}
	for i := range routes {
		routes[i].MTU, routes[i].AdvMSS = 0, 0
	}
	p.grant.Routes = routes
	if err := p.wire(); err != nil {
		return err
	}
	p.wiring.Owned.Bandwidth = nil
	if veth, ok := p.wiring.Owned.Link.(wire.Veth); ok {
		for _, name := range before.Hosts {
			if strings.HasPrefix(name, wire.VethPrefix) {
				veth.Host = name
			}
		}
		veth.OwnMACOnly = false
		p.wiring.Owned.Link = veth
	}
	return nil
}

// belongsToAnother tells whether the interface is that of another network's
// attachment of the container.
func (a *Attacher) belongsToAnother(req *cni.Request) (found bool, err error) {
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		for _, r := range records {
			found = found || r.Container == req.ContainerID && r.IfName == req.IfName && r.Part == ""
		}
		return err
	})
	return found, refused(err)
}
