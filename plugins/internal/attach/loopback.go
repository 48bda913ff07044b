package attach

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
)

// LoopbackUp brings lo up in the container and describes it.
func LoopbackUp(req *cni.Request) (*current.Result, error) {
	container, err := openContainer(Mode{}, req)
	if err != nil {
		return nil, err
	}
	defer container.Close()
	if err := container.LoopbackUp(); err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	addresses, err := container.LoopbackAddresses()
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	result := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: "lo", Mac: "00:00:00:00:00:00", Sandbox: req.Netns}},
	}
	for _, prefix := range addresses {
		if !prefix.Addr().IsLoopback() {
			return nil, cni.Errorf(cni.CodeConfig, "lo in %s has the address %s, which is not a loopback address", req.Netns, prefix)
		}
		result.IPs = append(result.IPs, &current.IPConfig{Interface: current.Int(0), Address: *ipNet(prefix)})
	}
	return result, nil
}

// LoopbackDown brings lo down, if its namespace is still there.
func LoopbackDown(req *cni.Request) error {
	container, err := kernel.OpenContainer(req.Netns, req.AllowOwnNetns)
	switch {
	case req.Netns == "" || errors.Is(err, kernel.ErrNoNamespace):
		return nil
	case errors.Is(err, kernel.ErrOwnNamespace):
		return cni.Errorf(cni.CodeOwnNetns, "CNI_NETNS %w", err)
	case err != nil:
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer container.Close()
	return cni.Wrap(cni.CodeKernel, container.LoopbackDown())
}

// LoopbackCheck finds out whether lo is up.
func LoopbackCheck(req *cni.Request) error {
	container, err := openContainer(Mode{}, req)
	if err != nil {
		return err
	}
	defer container.Close()
	return cni.Wrap(cni.CodeCheck, container.LoopbackCheck())
}
