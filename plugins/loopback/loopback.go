// Package loopback brings lo up in the container. containerd calls it beside
// every other network, by default with version 0.3.1.
package loopback

import (
	"context"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// Plugin acts on lo whatever CNI_IFNAME says. It keeps nothing in the ledger:
// there is nothing to find again, because lo ends with its namespace.
type Plugin struct{}

// Add brings lo up, and passes a previous result on.
func (Plugin) Add(_ context.Context, req *cni.Request) (*current.Result, error) {
	previous, err := req.PrevResult()
	if err != nil {
		return nil, err
	}
	result, err := attach.LoopbackUp(req)
	if previous != nil && err == nil {
		return previous, nil
	}
	return result, err
}

// Del brings lo down; a namespace that is gone needs nothing.
func (Plugin) Del(_ context.Context, req *cni.Request) error { return attach.LoopbackDown(req) }

// Check finds out whether lo is up.
func (Plugin) Check(_ context.Context, req *cni.Request) error {
	if len(req.Conf.PrevResult) == 0 {
		return cni.Errorf(cni.CodeConfig, "CHECK: key prevResult is missing: want the result of ADD")
	}
	return attach.LoopbackCheck(req)
}

// GC has nothing to collect, but insists on the list.
func (Plugin) GC(_ context.Context, req *cni.Request) error {
	_, err := req.Conf.Valid()
	return err
}

// Status is always ready.
func (Plugin) Status(context.Context, *cni.Request) error { return nil }
