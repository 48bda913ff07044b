package attach

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/netctl/netctl/dnsd/inside"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A plan is a request that has been checked, and the reservation made for it.
type plan struct {
	at    wire.Attachment
	req   *cni.Request
	conf  Conf
	ports []ledger.Port
	// source is where the addresses come from, addressing its configuration.
	source     source
	addressing addressing

	grant Grant
	// guests are links of the host that join the bridge.
	guests []string
	wiring wire.Wiring
	record ledger.Record
	// inside are the resolver's sockets in the container, or none; its port is
	// set where another attachment has made them.
	inside inside.Sockets
	// made and inner are the links of the attachment, as the kernel told when it
	// had made them.
	made  kernel.Made
	inner kernel.Interface
	// behind means that the link has no end on the host; see createBehind.
	behind bool
	// generation of the ledger that holds the record.
	generation uint64
}

// parse checks all that can be checked without touching anything.
func (a *Attacher) parse(req *cni.Request) (*plan, error) {
	conf, err := a.Mode.Parse(req)
	if err != nil {
		return nil, cni.Wrap(cni.CodeConfig, err)
	}
	if conf, err = a.complete(conf, req); err != nil {
		return nil, err
	}
	ports, err := portsOf(req.Conf.RuntimeConfig.PortMappings)
	if err != nil {
		return nil, err
	}
	source := a.source(req.Conf.IPAM.Type, req)
	addressing, err := source.parse()
	if err != nil {
		return nil, err
	}
	return &plan{at: a.attachment(req), req: req, conf: conf, ports: ports, source: source, addressing: addressing}, nil
}

func (a *Attacher) complete(conf Conf, req *cni.Request) (Conf, error) {
	if c, ok := conf.(Completer); ok {
		return c.Complete(a.Ledger.Dir(), req)
	}
	return conf, nil
}

// reserve has addresses granted and enters them, the ports and the names into
// the ledger, all of them or none.
func (a *Attacher) reserve(ctx context.Context, p *plan, u *undo) error {
	_, err := p.addressing.reserve(ctx, p.at, func(tx *ledger.Tx, grant Grant) error {
		if _, stale, err := tx.Attachment(ledger.Key(p.at)); stale || err != nil {
			return cmp.Or(err, errUnfinished)
		}
		if kind := p.req.Conf.IPAM.Type; kind != "" && len(grant.Addresses) == 0 {
			return cni.Errorf(cni.CodeConfig, "key ipam: type %s gave no address", kind)
		}
		p.grant = grant
		if err := p.wire(); err != nil {
			return err
		}
		if err := p.fillRecord(a, tx); err != nil {
			return err
		}
		if err := tx.Put(p.record); err != nil {
			return err
		}
		p.generation = tx.Generation()
		return nil
	})
	if err != nil {
		return err
	}
	u.push("reservation", func(ctx context.Context) error {
		return errors.Join(p.source.release(ctx, p.at, forgetting(p.at)), p.source.tell(ctx, cni.Del))
	})
	return nil
}

// wire has the mode compute the Wiring and adds what is the same for all modes.
func (p *plan) wire() error {
	w, err := p.conf.Wire(p.at, p.grant)
	if err != nil {
		return cni.Wrap(cni.CodeConfig, err)
	}
	w.Owned.Publish = publishOf(p.ports, w.Owned.Addresses)
	if publisher, ok := p.conf.(Publisher); ok {
		w.Owned.Publish = publisher.Publish(w.Owned.Publish)
	}
	w.Owned.Guests = p.guests
	// A segment with the gateway on this host has no other machines, as a rule.
	ownSegment := w.Shared.Bridge != nil && len(w.Shared.Bridge.Gateways) > 0 && len(p.guests) == 0
	w.Owned.Announce = len(w.Owned.Addresses) > 0 && !(ownSegment && p.grant.Fresh)
	for i, server := range w.Shared.Network.DNS {
		for _, r := range p.record.Redirects {
			if r.Addr() == server.Addr() {
				w.Shared.Network.DNS[i] = r
			}
		}
	}
	p.wiring = w
	return nil
}

func (p *plan) fillRecord(a *Attacher, tx *ledger.Tx) error {
	names, err := p.names()
	if err != nil {
		return err
	}
	p.record = ledger.Record{
		Key:     ledger.Key(p.at),
		Netns:   p.req.Netns,
		Foreign: p.req.Conf.IPAM.Type != LedgerIPAM,
		Ports:   p.ports,
		Guests:  p.guests,
		Names:   names,
		Plugin:  a.Mode.Name,
		Request: json.RawMessage(p.req.Stdin),
		Args:    p.req.RawArgs,
		Created: time.Now().UTC(), // local time would take the reading of the time zone
	}
	_, pair := p.wiring.Owned.Link.(wire.Veth)
	p.record.LinkInside = p.wiring.Owned.Link != nil && !pair
	for _, address := range p.grant.Addresses {
		p.record.Addresses = append(p.record.Addresses, ledger.Address(address))
	}
	if _, chained := p.conf.(Chained); chained && !names.IsZero() { // known here, and another's
		for _, address := range p.wiring.Owned.Addresses {
			p.record.Addresses = append(p.record.Addresses, ledger.Address(address))
		}
	}
	if _, foreign := p.source.(delegate); foreign {
		for _, route := range p.grant.Routes {
			p.record.Routes = append(p.record.Routes, ledger.Route(route))
		}
	}
	if !p.wiring.Shared.Network.IsZero() || len(p.wiring.Owned.Publish) > 0 {
		backend, err := a.decide(tx, p.conf)
		if err != nil {
			return err
		}
		if err := firewall.Translatable(backend.Name(), p.wiring.Owned.Publish); err != nil {
			return cni.Wrap(cni.CodeConfig, err)
		}
		p.record.Firewall = string(backend.Name())
	}
	return nil
}

// refused gives the ledger's errors their codes.
func refused(err error) error {
	var taken *ledger.TakenError
	var exhausted *ledger.ExhaustedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exhausted):
		return cni.Errorf(cni.CodeExhausted, "%w", err).WithHint("remove containers that are not needed, or make the network's subnet larger")
	case errors.As(err, &taken) && taken.IsPort():
		return cni.Errorf(cni.CodePort, "%w", err).WithHint("publish another host port, or remove container %s", taken.Holder.Container)
	case errors.As(err, &taken):
		return cni.Errorf(cni.CodeTaken, "%w", err).WithHint("ask for another address, or remove container %s", taken.Holder.Container)
	case errors.Is(err, ledger.ErrBusy):
		return cni.Wrap(cni.CodeTryAgain, err)
	}
	return cni.Wrap(cni.CodeStore, err)
}
