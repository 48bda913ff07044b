package plugins

import (
	"context"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// ipam is one of our kinds of IPAM as a plugin, for interface plugins that are
// not ours.
type ipam struct {
	Host
	kind string
}

func (p ipam) Add(ctx context.Context, req *cni.Request) (*current.Result, error) {
	plugin, err := p.open()
	if err != nil {
		return nil, err
	}
	return plugin.Add(ctx, req)
}

func (p ipam) Del(ctx context.Context, req *cni.Request) error {
	return p.with(func(plugin attach.IPAM) error { return plugin.Del(ctx, req) })
}

func (p ipam) Check(ctx context.Context, req *cni.Request) error {
	return p.with(func(plugin attach.IPAM) error { return plugin.Check(ctx, req) })
}

func (p ipam) GC(ctx context.Context, req *cni.Request) error {
	return p.with(func(plugin attach.IPAM) error { return plugin.GC(ctx, req) })
}

func (p ipam) Status(ctx context.Context, req *cni.Request) error {
	return p.with(func(plugin attach.IPAM) error { return plugin.Status(ctx, req) })
}

func (p ipam) open() (attach.IPAM, error) {
	a, err := p.attacher(attach.Mode{})
	if err != nil {
		return attach.IPAM{}, err
	}
	return a.IPAM(p.kind), nil
}

func (p ipam) with(fn func(attach.IPAM) error) error {
	plugin, err := p.open()
	if err != nil {
		return err
	}
	return fn(plugin)
}
