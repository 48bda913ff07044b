// Package bandwidth is the chained plugin that limits a container's traffic. It
// is the limit of the bridge mode, made available after a plugin that is not
// ours or that leaves it to the chain.
package bandwidth

import (
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{
		Name: "bandwidth", Parse: parse, Chained: true, NoRules: true, Inherited: wire.Heir.Limits,
		Oldest: "0.3.0", // results list no interfaces before
	}
}

// config holds the reference plugin's keys (spec cni 2.9): the limits stand at
// the top level or in the capability; one key at the top level rules out the
// capability.
type config struct {
	limits   attach.Limits
	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	var c config
	if err := req.Decode(&c.limits); err != nil {
		return nil, err
	}
	var err error
	if !c.limits.Given() {
		if c.limits, err = attach.RequestedLimits(req); err != nil {
			return nil, err
		}
	}
	if err := c.limits.Check(); err != nil {
		return nil, err
	}
	c.previous, err = attach.ReadPrevious(req)
	return c, err
}

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// Wire limits the pair of links that the plugin before has made.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	return wire.Wiring{
		Attachment: at,
		Shared:     wire.Shared{Network: wire.NetworkPolicy{Network: at.NetworkLabel()}},
		Owned:      wire.Owned{Bandwidth: c.limits.Bandwidth(at, c.previous.Hosts)},
	}, nil
}
