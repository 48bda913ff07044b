package attach

import (
	"context"
	"errors"
	"maps"
	"net/netip"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// collectInherited removes what the reference plugins made for containers of
// this network that have vanished. Two things tell of such a container, and
// nothing is removed without one of them: host-local's files, which name
// network, container, interface and address; and the comments of iptables'
// rules, which name network and container. What names no network goes only if a
// file says that the address in it was this container's.
func (a *Attacher) collectInherited(ctx context.Context, req *cni.Request, keep valid) error {
	if a.Mode.SharesHost || a.Mode.Chained && a.Mode.Inherited == nil {
		return nil
	}
	gone := map[ledger.Key][]netip.Addr{}
	stores, err := a.stores(req)
	for _, store := range stores {
		here, unread := store.vanished(keep)
		maps.Copy(gone, here)
		err = errors.Join(err, unread)
	}
	if err != nil {
		return err
	}
	err = rulesError(firewall.CollectInherited(ctx, a.Log, req.Conf.Name, func(containers []string) (wire.Inherited, error) {
		in := wire.Inherited{Marked: []wire.Marked{wire.MasqueradeExcept(req.Conf.Name, keep.attachments(req.Conf.Name))}}
		for _, id := range containers {
			if !keep.has(id) {
				in = in.Join(wire.Heir{Attachment: wire.Attachment{Network: req.Conf.Name, Container: id}, Certain: true}.Everything())
			}
		}
		for k, addresses := range gone {
			in = in.Join(a.vanished(k, addresses, keep).Everything())
		}
		return in, nil
	}))
	return errors.Join(err, a.collectLinks(gone, keep))
}

// collectLinks removes the devices of the reference bandwidth.
func (a *Attacher) collectLinks(gone map[ledger.Key][]netip.Addr, keep valid) error {
	if len(gone) == 0 {
		return nil
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	var failures []error
	for k, addresses := range gone {
		for _, name := range a.vanished(k, addresses, keep).Limits().Links {
			failures = append(failures, cni.Wrap(cni.CodeKernel, host.DeleteLink(name)))
		}
	}
	return errors.Join(failures...)
}

// vanished is an attachment that only host-local's files know. Whatever it was
// called by container and interface alone is left to another network's
// attachment that is called so too.
func (a *Attacher) vanished(k ledger.Key, addresses []netip.Addr, keep valid) wire.Heir {
	heir := wire.Heir{Attachment: wire.Attachment(k), Addresses: addresses, Sibling: keep.has(k.Container), Certain: true}
	used, err := a.belongsToAnother(k.Container, k.IfName)
	if used || err != nil {
		heir.IfName = ""
	}
	return heir
}

// attachments are those to keep, in a network.
func (v valid) attachments(network string) (all []wire.Attachment) {
	for at := range v {
		all = append(all, wire.Attachment{Network: network, Container: at.ContainerID, IfName: at.IfName})
	}
	return all
}
