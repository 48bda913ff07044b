package plumbing

import (
	"context"
	"fmt"

	"github.com/netctl/netctl/netctl/runner"
)

// Preview gives the commands in place of Attach. Where any free host port will
// do, one that is free now is shown. The default network is not made.
func (p Plumbing) Preview(ctx context.Context, container string, endpoints []runner.Endpoint) ([]string, error) {
	var lines []string
	for _, e := range endpoints {
		n, err := p.store.Find(e.Network)
		if err != nil {
			return nil, err
		}
		if n.List == nil {
			return nil, fmt.Errorf("network %s is made on first use: there is nothing to show before", n.Name)
		}
		list, err := p.host.Parse(n.List)
		if err != nil {
			return nil, err
		}
		ports, err := choosePorts(withHostIP(e.Ports, n.HostIP()), 0)
		if err != nil {
			return nil, err
		}
		more, err := list.Preview(ctx, callOf(container, "/run/netns/"+container, e, ports))
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	if len(endpoints) > 1 {
		lines = append(lines, "# of several default routes that of "+byPriority(endpoints)[0].IfName+" leads out; the others get metrics from 1025 on")
	}
	return lines, nil
}
