package attach

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/hostlocal"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// removeInherited removes what the reference plugin made for an attachment that
// the ledger does not know: rules, the host's links, and the link in the
// container. The plugin that makes the link removes also what those chained
// after it may have left: it knows more, and is the last to be asked.
func (a *Attacher) removeInherited(ctx context.Context, host *kernel.Host, req *cni.Request, at wire.Attachment) error {
	made := a.Mode.Inherited
	if at.Part == "" {
		made = wire.Heir.Everything
	}
	if made == nil || a.Mode.SharesHost {
		return nil
	}
	heir, err := a.heir(req, at)
	failures, in := []error{err}, made(heir)
	for _, name := range in.Links {
		failures = append(failures, cni.Wrap(cni.CodeKernel, host.DeleteLink(name)))
	}
	failures = append(failures, rulesError(firewall.RemoveInherited(ctx, a.Log, in)))
	if at.Part == "" {
		failures = append(failures, cni.Wrap(cni.CodeKernel, a.deleteInherited(host, req)))
	}
	return errors.Join(failures...)
}

// heir gathers what is known of an attachment of the reference plugins: by a
// previous result, and by host-local's files. An address that somebody else has
// by now is not its any more (spec cni C090).
func (a *Attacher) heir(req *cni.Request, at wire.Attachment) (wire.Heir, error) {
	heir := wire.Heir{Attachment: at}
	reserved, err := a.reservedFor(req, at.Container)
	for addr, ifName := range reserved {
		if ifName == at.IfName || ifName == "" {
			heir.Addresses = append(heir.Addresses, addr)
			continue
		}
		ours, unread := a.lookUp(wire.Attachment{Network: at.Network, Container: at.Container, IfName: ifName})
		heir.Sibling = heir.Sibling || ours == nil
		err = errors.Join(err, unread)
	}
	holds := func(tx *ledger.Tx, addr netip.Addr) bool {
		holder, taken := tx.Holder(at.Network, addr)
		return !taken || holder.Container == at.Container
	}
	unread := a.Ledger.View(func(tx *ledger.Tx) error {
		for _, before := range addressesBefore(req) {
			if addr := before.Prefix.Addr(); holds(tx, addr) && !slices.Contains(heir.Addresses, addr) {
				heir.Addresses = append(heir.Addresses, addr)
			}
		}
		return nil
	})
	return heir, errors.Join(err, refused(unread))
}

// reservedFor gives the addresses that host-local's files reserve for a
// container in the request's network, with their interfaces.
func (a *Attacher) reservedFor(req *cni.Request, container string) (map[netip.Addr]string, error) {
	all := map[netip.Addr]string{}
	stores, err := a.stores(req)
	for _, store := range stores {
		held, unread := store.of(container)
		maps.Copy(all, held)
		err = errors.Join(err, unread)
	}
	return all, err
}

// stores are the directories of host-local in which the network has its
// addresses. A chained plugin is not told: it looks in those that other plugins
// have used, and where they are if nothing is configured.
func (a *Attacher) stores(req *cni.Request) (all []hostLocal, err error) {
	if configured, ok := a.source(req.Conf.IPAM.Type, req).(hostLocal); ok {
		return []hostLocal{configured}, nil
	}
	if !a.Mode.Chained {
		return nil, nil
	}
	usual, err := hostlocal.In("", req.Conf.Name)
	if err != nil {
		return nil, err
	}
	dirs := map[string]bool{usual.String(): true}
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		for _, dir := range tx.Mirrored(req.Conf.Name) {
			dirs[dir] = true
		}
		return nil
	})
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		there := *req
		there.Conf.IPAM.Raw, _ = json.Marshal(map[string]string{"dataDir": filepath.Dir(dir)}) // two texts: it can't fail
		all = append(all, hostLocal{a.Ledger, a.boot, a.Log, &there})
	}
	return all, refused(err)
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
	if used, err := a.belongsToAnother(req.ContainerID, req.IfName); used || err != nil {
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
func (a *Attacher) belongsToAnother(container, ifName string) (found bool, err error) {
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		records, err := tx.ByContainer(container)
		for _, r := range records {
			found = found || r.IfName == ifName && r.Part == ""
		}
		return err
	})
	return found, refused(err)
}
