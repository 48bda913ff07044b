package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// GC removes the attachments of this network that are not in the caller's
// list. It goes on after an error and reports all of them together.
func (a *Attacher) GC(ctx context.Context, req *cni.Request) error {
	keep, err := validOf(req)
	if err != nil {
		return err
	}
	// Before host-local's files, by which it is found, are gone.
	err = a.collectInherited(ctx, req, keep)
	return errors.Join(err, a.collect(ctx, req, keep, a.source(req.Conf.IPAM.Type, req)))
}

func validOf(req *cni.Request) (valid, error) {
	entries, err := req.Conf.Valid()
	keep := valid{}
	for _, v := range entries {
		keep[v] = true
	}
	return keep, err
}

// collect removes what the ledger and the source of addresses know.
func (a *Attacher) collect(ctx context.Context, req *cni.Request, keep valid, from source) error {
	var records []ledger.Record
	err := a.Ledger.View(func(tx *ledger.Tx) (err error) {
		records, err = tx.Attachments(req.Conf.Name)
		return err
	})
	if err != nil {
		return refused(err)
	}
	var sockets held
	defer sockets.close()
	var failures []error
	for _, r := range records {
		if r.Part != a.attachment(req).Part || keep[cni.ValidAttachment{ContainerID: r.Container, IfName: r.IfName}] {
			continue
		}
		err := errors.Join(
			a.abandon(ctx, req, r, firewall.WithPark(sockets.keep)),
			a.sourceOf(&r, req).tell(ctx, cni.Del),
		)
		if err != nil {
			failures = append(failures, fmt.Errorf("remove %s: %w", r.Key, err))
		}
	}
	return errors.Join(append(failures, from.collect(ctx, keep))...)
}

// abandon removes a vanished attachment. Where its namespace is still there,
// the link stays in it: GC does not alter namespaces (spec cni C134), and the
// link goes when the namespace does. But the address is given back, and may be
// somebody else's a moment later; so the host's end is taken out of the bridge
// and off the network.
func (a *Attacher) abandon(ctx context.Context, req *cni.Request, r ledger.Record, options ...firewall.Option) error {
	if !kernel.IsNamespace(r.Netns) {
		return a.remove(ctx, req, wire.Attachment(r.Key), options...)
	}
	at := wire.Attachment(r.Key)
	a.restore(req, at, &r) // which names no namespace: only the file goes
	forgotten, err := a.withdraw(ctx, r)
	if err != nil {
		return err
	}
	err = errors.Join(a.removeRules(ctx, at, &r, options...), a.disconnect(at, &r))
	forgotten()
	if err != nil {
		return err
	}
	return a.sourceOf(&r, req).release(ctx, at, forgetting(at))
}

// Status tells whether ADD could succeed now: the ledger can be read, the
// packet filter is there, and each set of ranges has a free address.
func (a *Attacher) Status(ctx context.Context, req *cni.Request) error {
	conf, err := a.Mode.Parse(req)
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	if conf, err = a.complete(conf, req); err != nil {
		return notAvailable(err)
	}
	w, err := conf.Wire(wire.Attachment{Network: req.Conf.Name}, Grant{})
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return notAvailable(err)
	}
	defer host.Close()
	warning, err := host.Ready(w.Owned.Link)
	if errors.Is(err, kernel.ErrBridgeFull) {
		return cni.Errorf(cni.CodeNotAvailable, "%w", err).WithHint(hintFull)
	}
	if err != nil {
		return notAvailable(err)
	}
	if warning != "" { // an error would have the runtime start nothing at all
		a.Log.Warn(warning)
	}
	if (a.Mode.Chained && !a.Mode.NoRules) || !w.Shared.Network.IsZero() {
		mechanism, err := a.ofHost(conf)
		if err != nil {
			return err
		}
		if err := firewall.Probe(ctx, firewall.BackendName(mechanism)); err != nil {
			return notAvailable(err)
		}
	}
	if err := resolverReady(conf); err != nil {
		return notAvailable(err)
	}
	addressing, err := a.source(req.Conf.IPAM.Type, req).parse()
	if err != nil {
		return err
	}
	if err := addressing.status(ctx); err != nil {
		return err
	}
	if l, ok := conf.(Limiter); ok && l.Limited() != nil {
		return cni.Wrap(cni.CodeLimited, l.Limited())
	}
	return nil
}

func notAvailable(err error) error {
	if err == nil {
		return nil
	}
	return cni.Errorf(cni.CodeNotAvailable, "%w", err)
}
