package plugins

import (
	"context"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// ledgerIPAM hands out addresses of the ledger to a foreign interface plugin.
// Our own plugins don't call it: they reserve addresses in the same
// transaction as ports and names.
type ledgerIPAM struct{ Host }

func (p ledgerIPAM) Add(_ context.Context, req *cni.Request) (*current.Result, error) {
	a, err := p.attacher(attach.Mode{})
	if err != nil {
		return nil, err
	}
	return a.Grant(req)
}

func (p ledgerIPAM) Del(_ context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.Release(req) })
}

func (p ledgerIPAM) Check(_ context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.CheckGrant(req) })
}

func (p ledgerIPAM) GC(ctx context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.GC(ctx, req) })
}

func (p ledgerIPAM) Status(_ context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.PoolStatus(req) })
}

func (p ledgerIPAM) with(fn func(*attach.Attacher) error) error {
	a, err := p.attacher(attach.Mode{})
	if err != nil {
		return err
	}
	return fn(a)
}
