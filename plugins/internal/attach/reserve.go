package attach

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A plan is a request that has been checked, and the reservation made for it.
type plan struct {
	at    wire.Attachment
	req   *cni.Request
	conf  Conf
	ports []ledger.Port

	grant  Grant
	wiring wire.Wiring
	record ledger.Record
	// generation of the ledger that holds the record.
	generation uint64
}

// parse checks all that can be checked without touching anything.
func (a *Attacher) parse(req *cni.Request) (*plan, error) {
	conf, err := a.Mode.Parse(req)
	if err != nil {
		return nil, cni.Wrap(cni.CodeConfig, err)
	}
	ports, err := portsOf(req.Conf.RuntimeConfig.PortMappings)
	if err != nil {
		return nil, err
	}
	return &plan{at: a.attachment(req), req: req, conf: conf, ports: ports}, nil
}

// reserve has addresses granted and enters them, the ports and the names into
// the ledger, all of them or none.
func (a *Attacher) reserve(ctx context.Context, p *plan, u *undo) error {
	source, err := p.addressSource(ctx, u)
	if err != nil {
		return err
	}
	err = a.Ledger.Update(func(tx *ledger.Tx) error {
		if p.grant, err = source(tx); err != nil {
			return err
		}
		if err := p.wire(); err != nil {
			return err
		}
		if err := p.fillRecord(a); err != nil {
			return err
		}
		if err := tx.Put(p.record); err != nil {
			return err
		}
		p.generation = tx.Generation()
		return nil
	})
	if err != nil {
		return refused(err)
	}
	u.push("reservation", func(context.Context) error { return a.forget(p.record.Key) })
	return nil
}

// addressSource is where the addresses come from: nowhere (L2), the ledger in
// its transaction, or another plugin, which is asked before the transaction.
func (p *plan) addressSource(ctx context.Context, u *undo) (func(*ledger.Tx) (Grant, error), error) {
	switch p.req.Conf.IPAM.Type {
	case "":
		return func(*ledger.Tx) (Grant, error) { return Grant{}, nil }, nil
	case LedgerIPAM:
		pool, err := ParsePool(p.req)
		return func(tx *ledger.Tx) (Grant, error) { return pool.take(tx, p.req.Conf.Name) }, err
	}
	d, err := findDelegate(p.req)
	if err != nil {
		return nil, err
	}
	grant, err := d.add(ctx)
	if err != nil {
		return nil, err
	}
	u.push("addresses", func(ctx context.Context) error { return d.run(ctx, cni.Del) })
	return func(*ledger.Tx) (Grant, error) { return grant, nil }, nil
}

// wire has the mode compute the Wiring and adds what is the same for all modes.
func (p *plan) wire() error {
	w, err := p.conf.Wire(p.at, p.grant)
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	w.Owned.Publish = publishOf(p.ports, w.Owned.Addresses)
	p.wiring = w
	return nil
}

func (p *plan) fillRecord(a *Attacher) error {
	names, err := namesOf(p.req, p.wiring.Shared.Network)
	if err != nil {
		return err
	}
	p.record = ledger.Record{
		Key:     ledger.Key(p.at),
		Netns:   p.req.Netns,
		Ports:   p.ports,
		Names:   names,
		Plugin:  a.Mode.Name,
		Request: json.RawMessage(p.req.Stdin),
		Args:    p.req.Args.String(),
		Created: time.Now(),
	}
	_, pair := p.wiring.Owned.Link.(wire.Veth)
	p.record.LinkInside = p.wiring.Owned.Link != nil && !pair
	for _, address := range p.grant.Addresses {
		p.record.Addresses = append(p.record.Addresses, ledger.Address(address))
	}
	if !p.wiring.Shared.Network.IsZero() || len(p.wiring.Owned.Publish) > 0 {
		backend, err := a.backend(a.choose(p.conf))
		if err != nil {
			return err
		}
		p.record.Firewall = string(backend.Name())
	}
	return nil
}

// forget gives a reservation back.
func (a *Attacher) forget(key ledger.Key) error {
	err := a.Ledger.Update(func(tx *ledger.Tx) error {
		_, _, err := tx.Delete(key)
		return err
	})
	return cni.Wrap(cni.CodeStore, err)
}

// refused gives the ledger's errors their codes.
func refused(err error) error {
	var taken *ledger.TakenError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &taken) && taken.IsPort():
		return cni.Errorf(cni.CodePort, "%w", err).WithHint("publish another host port, or remove container %s", taken.Holder.Container)
	case errors.As(err, &taken):
		return cni.Errorf(cni.CodeTaken, "%w", err).WithHint("ask for another address, or remove container %s", taken.Holder.Container)
	case errors.Is(err, ledger.ErrBusy):
		return cni.Wrap(cni.CodeTryAgain, err)
	}
	return cni.Wrap(cni.CodeStore, err)
}
