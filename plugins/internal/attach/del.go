package attach

import (
	"context"
	"errors"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// delWait bounds the wait of a DEL for others' locks. A runtime has 60 seconds
// for all that it does to remove a container, and tries again after code 11.
const delWait = 9 * time.Second

// Del takes the attachment away. It needs neither the namespace nor a previous
// result nor the configuration as it was at ADD, and an attachment that is not
// there is no error.
func (a *Attacher) Del(ctx context.Context, req *cni.Request) error {
	ctx, cancel := context.WithTimeout(ctx, delWait)
	defer cancel()
	err := a.remove(ctx, req, a.attachment(req))
	return errors.Join(err, a.source(req.Conf.IPAM.Type, req).tell(ctx, cni.Del))
}

// remove takes away all that an attachment has, in the order that lets nobody
// see a wrong state: its rules, then its link, and while the resolver forgets
// its names; last the reservation of address and ports, when no answer leads to an
// address any more that somebody else may get. It goes on after an error, and keeps
// the reservation then, so that what is left stays accounted for and DEL can be
// repeated. Without options, a child waits for what the packet filter has to free.
func (a *Attacher) remove(ctx context.Context, req *cni.Request, at wire.Attachment, options ...firewall.Option) error {
	record, err := a.lookUp(at)
	if err != nil || a.passedOn(req, record) {
		return err
	}
	inside := a.leaveInside(record)
	forgotten := func() {}
	if record != nil {
		if forgotten, err = a.withdraw(ctx, *record); err != nil {
			return err
		}
	}
	err = a.takeAway(ctx, req, at, record, options...)
	forgotten()
	if err := errors.Join(inside, err); err != nil {
		return err
	}
	return a.sourceOf(record, req).release(ctx, at, forgetting(at))
}

// takeAway takes away what the attachment has in the kernel.
func (a *Attacher) takeAway(ctx context.Context, req *cni.Request, at wire.Attachment, record *ledger.Record, options ...firewall.Option) error {
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	a.restore(req, at, record)
	if record == nil {
		if err := a.removeInherited(ctx, host, req, at); err != nil {
			return err
		}
	}
	return errors.Join(
		a.removeRules(ctx, at, record, append([]firewall.Option{firewall.WithPark(host.Park)}, options...)...),
		cni.Wrap(cni.CodeKernel, a.deleteLinks(host, at, record)),
	)
}

// lookUp reads the record of an attachment; nil if there is none.
func (a *Attacher) lookUp(at wire.Attachment) (*ledger.Record, error) {
	var record *ledger.Record
	err := a.Ledger.View(func(tx *ledger.Tx) error {
		found, ok, err := tx.Attachment(ledger.Key(at))
		if ok {
			record = &found
		}
		return err
	})
	return record, refused(err)
}

// deleteLinks takes away the host's end, and with it the container's. A link
// without a host's end is deleted in the container's namespace, if that is
// still there and the ledger says that the link is ours.
func (a *Attacher) deleteLinks(host *kernel.Host, at wire.Attachment, record *ledger.Record) error {
	if at.Part != "" {
		return a.unshape(host, at, record) // the link is somebody else's
	}
	if err := a.dismiss(host, record); err != nil {
		return err
	}
	for _, prefix := range []string{wire.VethPrefix, wire.IfbPrefix} {
		if err := host.DeleteLink(at.HostName(prefix)); err != nil {
			return err
		}
	}
	if record == nil || !record.LinkInside {
		return nil
	}
	container, err := kernel.OpenContainer(record.Netns, false)
	if errors.Is(err, kernel.ErrNoNamespace) || errors.Is(err, kernel.ErrOwnNamespace) {
		return nil // the link has gone with its namespace
	}
	if err != nil {
		return err
	}
	defer container.Close()
	return container.DeleteLink(at.IfName)
}

// withdraw marks the attachment as leaving, takes its names out of the ledger, and
// tells the resolver. What it returns waits until that has forgotten them, and has to
// be called.
func (a *Attacher) withdraw(ctx context.Context, record ledger.Record) (forgotten func(), err error) {
	named := !record.Names.IsZero()
	record.Names, record.Leaving = ledger.Names{}, true
	var generation uint64
	err = a.Ledger.Update(func(tx *ledger.Tx) error {
		err := tx.Put(record)
		generation = tx.Generation()
		return err
	})
	if err != nil || !named {
		return func() {}, refused(err)
	}
	answer := a.Resolver.Withdraw(ctx, generation)
	return func() {
		if err := answer(); err != nil {
			// A resolver that can't be reached answers nobody; DEL goes on.
			a.Log.Warn("resolver did not take a withdrawal", "attachment", record.Key, "error", err)
		}
	}, nil
}

// removeRules takes the attachment's rules away, and the network's with them
// if no other attachment is left.
func (a *Attacher) removeRules(ctx context.Context, at wire.Attachment, record *ledger.Record, options ...firewall.Option) error {
	if record != nil && record.Firewall == "" || record == nil && a.Mode.NoRules {
		return nil
	}
	recorded, err := a.ofHost(nil)
	if err != nil {
		return err
	}
	if record != nil {
		recorded = record.Firewall
	}
	backend, err := a.backend(recorded, options...)
	if err != nil {
		return err
	}
	return rulesError(backend.Remove(ctx, a.rulesOf(at, record), a.othersOf(at)))
}

// rulesOf computes what was applied for an attachment. Where that can't be
// known any more, its name is enough for the packet filter to find it.
func (a *Attacher) rulesOf(at wire.Attachment, record *ledger.Record) firewall.Rules {
	if record != nil {
		if p, err := a.replay(*record); err == nil {
			return p.rules()
		}
	}
	return firewall.Rules{Attachment: at, Network: wire.NetworkPolicy{Network: at.NetworkLabel()}}
}

// othersOf tells whether the network has an attachment beside this one that
// stays.
func (a *Attacher) othersOf(at wire.Attachment) firewall.InUse {
	return func() (others bool, err error) {
		err = a.Ledger.View(func(tx *ledger.Tx) error {
			others, err = tx.InUse(ledger.Key(at))
			return err
		})
		return others, err
	}
}

// rulesError gives the packet filter's errors their codes.
func rulesError(err error) error {
	if errors.Is(err, firewall.ErrBusy) {
		return cni.Wrap(cni.CodeTryAgain, err)
	}
	return cni.Wrap(cni.CodeFirewall, err)
}
