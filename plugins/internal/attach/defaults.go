package attach

import (
	"errors"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// RankDefaults puts the default routes of a container with several networks in
// order. What CHECK holds an attachment to stays true: the metric of a route that
// was made without one may be any. A namespace that is gone has none.
func RankDefaults(netns string, routes []wire.DefaultRoute) error {
	container, err := kernel.OpenContainer(netns, false)
	if errors.Is(err, kernel.ErrNoNamespace) {
		return nil
	}
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	defer container.Close()
	return cni.Wrap(cni.CodeKernel, container.RankDefaults(routes))
}
