package attach

import (
	"context"
	"fmt"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/ipam/quickjson"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Check compares the attachment with what its Wiring asks for and changes
// nothing. What others have added is none of its business.
func (a *Attacher) Check(ctx context.Context, req *cni.Request) error {
	previous, err := req.PrevResult()
	if err != nil {
		return err
	}
	if previous == nil {
		return cni.Errorf(cni.CodeConfig, "CHECK: key prevResult is missing: want the result of ADD")
	}
	if a.Mode.Chained {
		if idle, err := a.idle(req); idle || err != nil {
			return err
		}
	}
	container, err := openContainer(a.Mode, req)
	if err != nil {
		return err
	}
	defer container.Close()
	p, err := a.recorded(req)
	if err == nil && p == nil {
		return a.checkInherited(ctx, req, container, previous)
	}
	if err != nil {
		return err
	}
	if _, foreign := p.source.(delegate); foreign {
		p.addressing = delegate{a.Ledger, req} // it gets this request, not ADD's
	}
	if err := p.addressing.check(ctx, p.at, previous); err != nil {
		return err
	}
	if err := checkMAC(container, req, previous); err != nil {
		return err
	}
	host, err := kernel.OpenHost()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	if err := kernel.Check(host, container, p.wiring); err != nil {
		return cni.Wrap(cni.CodeCheck, err)
	}
	if err := a.checkNames(ctx, p, container); err != nil {
		return cni.Wrap(cni.CodeCheck, err)
	}
	if p.record.Firewall == "" {
		return nil
	}
	backend, err := a.backend(p.record.Firewall)
	if err != nil {
		return err
	}
	return cni.Wrap(cni.CodeCheck, backend.Check(ctx, p.rules()))
}

// checkNames asks the resolver whether it serves the attachment.
func (a *Attacher) checkNames(ctx context.Context, p *plan, container *kernel.Container) error {
	if p.record.Names.IsZero() {
		return nil
	}
	inside := ""
	if p.record.Names.Inside != 0 {
		inside = p.record.Container
	}
	if err := a.Resolver.Check(ctx, p.record.Network, inside); err != nil {
		return fmt.Errorf("names of network %s: %w", p.record.Network, err)
	}
	return checkInside(container, p.record.Names.Inside)
}

// checkMAC compares the interface's hardware address with the result of the
// whole chain, in which a later plugin (tuning) may have changed it.
func checkMAC(container *kernel.Container, req *cni.Request, previous *current.Result) error {
	for _, want := range previous.Interfaces {
		if want.Sandbox == "" || want.Name != req.IfName || want.Mac == "" {
			continue
		}
		have, err := container.Describe(want.Name)
		if err != nil {
			return cni.Wrap(cni.CodeCheck, err)
		}
		if !strings.EqualFold(have[0].MAC.String(), want.Mac) {
			return cni.Errorf(cni.CodeCheck, "interface %s has the hardware address %s, and prevResult says %s", want.Name, have[0].MAC, want.Mac)
		}
	}
	return nil
}

// recorded computes the Wiring anew from what the ledger remembers of ADD; nil
// if that is nothing.
func (a *Attacher) recorded(req *cni.Request) (*plan, error) {
	var record ledger.Record
	var found bool
	err := a.Ledger.View(func(tx *ledger.Tx) (err error) {
		record, found, err = tx.Attachment(ledger.Key(a.attachment(req)))
		return err
	})
	if err != nil || !found {
		return nil, refused(err)
	}
	return a.replay(record)
}

// replay computes the Wiring of a record as ADD computed it.
func (a *Attacher) replay(record ledger.Record) (*plan, error) {
	req, err := requestOf(record)
	if err != nil {
		return nil, err
	}
	p, err := a.parse(req)
	if err != nil {
		return nil, err
	}
	p.record, p.grant, p.guests = record, grantFrom(record), record.Guests
	p.grant.Routes = append(p.grant.Routes, p.addressing.routes()...)
	return p, p.wire()
}

// requestOf brings the request of ADD back.
func requestOf(record ledger.Record) (*cni.Request, error) {
	args, err := cni.ParseArgs("IgnoreUnknown=1;" + record.Args)
	if err != nil {
		return nil, cni.Wrap(cni.CodeStore, err)
	}
	req := &cni.Request{
		ContainerID: record.Container, Netns: record.Netns, IfName: record.IfName,
		Command: cni.Add, Args: args, RawArgs: record.Args, Stdin: record.Request,
	}
	if err := quickjson.Unmarshal(record.Request, &req.Conf); err != nil {
		return nil, cni.Errorf(cni.CodeStore, "request of %s in the ledger: %w", record.Key, err)
	}
	return req, nil
}

func grantFrom(record ledger.Record) Grant {
	var grant Grant
	for _, a := range record.Addresses {
		grant.Addresses = append(grant.Addresses, wire.Address(a))
	}
	for _, r := range record.Routes {
		grant.Routes = append(grant.Routes, wire.Route(r))
	}
	return grant
}
