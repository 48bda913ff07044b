package attach

import (
	"context"
	"errors"
	"fmt"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// GC removes the attachments of this network that are not in the caller's
// list. It goes on after an error and reports all of them together.
func (a *Attacher) GC(ctx context.Context, req *cni.Request) error {
	valid, err := req.Conf.Valid()
	if err != nil {
		return err
	}
	keep := map[cni.ValidAttachment]bool{}
	for _, v := range valid {
		keep[v] = true
	}
	var records []ledger.Record
	err = a.Ledger.View(func(tx *ledger.Tx) (err error) {
		records, err = tx.Attachments(req.Conf.Name)
		return err
	})
	if err != nil {
		return refused(err)
	}
	var failures []error
	for _, r := range records {
		if r.Part != a.attachment(req).Part || keep[cni.ValidAttachment{ContainerID: r.Container, IfName: r.IfName}] {
			continue
		}
		if err := a.remove(ctx, wire.Attachment(r.Key)); err != nil {
			failures = append(failures, fmt.Errorf("remove %s: %w", r.Key, err))
		}
	}
	if kind := req.Conf.IPAM.Type; kind != "" && kind != LedgerIPAM {
		failures = append(failures, a.delegateVerb(ctx, req, cni.GC))
	}
	return errors.Join(failures...)
}

// Status tells whether ADD could succeed now: the ledger can be read, the
// packet filter is there, and each set of ranges has a free address.
func (a *Attacher) Status(ctx context.Context, req *cni.Request) error {
	conf, err := a.Mode.Parse(req)
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
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
	if err := host.Ready(w.Owned.Link); err != nil {
		return notAvailable(err)
	}
	if _, err := a.backend(a.choose(conf)); err != nil {
		return notAvailable(err)
	}
	switch req.Conf.IPAM.Type {
	case "":
		return nil
	case LedgerIPAM:
		return a.poolStatus(req)
	}
	return a.delegateVerb(ctx, req, cni.Status)
}

func (a *Attacher) delegateVerb(ctx context.Context, req *cni.Request, verb cni.Command) error {
	d, err := findDelegate(req)
	if err != nil {
		return err
	}
	return d.run(ctx, verb)
}

// poolStatus looks for a free address in each set without taking it.
func (a *Attacher) poolStatus(req *cni.Request) error {
	pool, err := ParsePool(req)
	if err != nil {
		return err
	}
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		for _, set := range pool.Sets {
			if err := tx.Room(req.Conf.Name, set); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return notAvailable(err)
	}
	return nil
}

func notAvailable(err error) error {
	return cni.Errorf(cni.CodeNotAvailable, "%w", err)
}
