// Package host is the mode in which a container lives in the host's network
// namespace: nothing is made, and the host's own addresses are the result.
package host

import (
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "host", Parse: parse, SharesHost: true}
}

type config struct{}

func parse(*cni.Request) (attach.Conf, error) { return config{}, nil }

func (config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	return wire.Wiring{Attachment: at}, nil
}
