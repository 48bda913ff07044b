package attach

import (
	"context"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// IPAM is one of our kinds of IPAM as a plugin of its own, for interface
// plugins that are not ours. Ours don't call it: they reserve addresses in the
// same transaction as ports and names.
type IPAM struct {
	attacher *Attacher
	kind     string
}

// IPAM gives the plugin of a kind.
func (a *Attacher) IPAM(kind string) IPAM { return IPAM{a, kind} }

// Add grants addresses. A repeated ADD gets the same ones again.
func (i IPAM) Add(ctx context.Context, req *cni.Request) (*current.Result, error) {
	addressing, err := i.source(req).parse()
	if err != nil {
		return nil, err
	}
	grant, err := addressing.reserve(ctx, attachmentOf(req), i.enter(req))
	if err != nil {
		return nil, err
	}
	return grant.result(), nil
}

// Del gives them back.
func (i IPAM) Del(ctx context.Context, req *cni.Request) error {
	at := attachmentOf(req)
	if i.kind == LedgerIPAM {
		return i.source(req).release(ctx, at, forgetting(at))
	}
	return i.source(req).release(ctx, at, nil)
}

// Check compares the previous result with what is reserved.
func (i IPAM) Check(ctx context.Context, req *cni.Request) error {
	addressing, err := i.source(req).parse()
	if err != nil {
		return err
	}
	previous, err := req.PrevResult()
	if err != nil {
		return err
	}
	if previous == nil {
		return cni.Errorf(cni.CodeConfig, "CHECK: key prevResult is missing: want the result of ADD")
	}
	return addressing.check(ctx, attachmentOf(req), previous)
}

// GC gives back what belongs to no valid attachment.
func (i IPAM) GC(ctx context.Context, req *cni.Request) error {
	keep, err := validOf(req)
	if err != nil {
		return err
	}
	return i.attacher.collect(ctx, req, keep, i.source(req))
}

// Status tells whether ADD could succeed now.
func (i IPAM) Status(ctx context.Context, req *cni.Request) error {
	addressing, err := i.source(req).parse()
	if err != nil {
		return err
	}
	return addressing.status(ctx)
}

func (i IPAM) source(req *cni.Request) source { return i.attacher.source(i.kind, req) }

// enter makes the record by which the ledger's own addresses are reserved. The
// other kinds need none.
func (i IPAM) enter(req *cni.Request) enter {
	if i.kind != LedgerIPAM {
		return nil
	}
	return func(tx *ledger.Tx, grant Grant) error {
		record := ledger.Record{
			Key: ledger.Key(attachmentOf(req)), Netns: req.Netns, Plugin: i.kind,
			Request: req.Stdin, Args: req.RawArgs, Created: time.Now(),
		}
		for _, address := range grant.Addresses {
			record.Addresses = append(record.Addresses, ledger.Address(address))
		}
		return tx.Put(record)
	}
}

// result is an IPAM plugin's: no interfaces, and no index in the addresses.
func (g Grant) result() *current.Result {
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: g.DNS}
	for _, address := range g.Addresses {
		result.IPs = append(result.IPs, &current.IPConfig{Address: *ipNet(address.Prefix), Gateway: slice(address.Gateway)})
	}
	for _, route := range g.Routes {
		result.Routes = append(result.Routes, resultRoute(route))
	}
	return result
}
