// Package none is the mode of a container without network: its own namespace,
// in which only lo is up.
package none

import (
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "none", Parse: parse}
}

type config struct{}

func parse(*cni.Request) (attach.Conf, error) { return config{}, nil }

func (config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	return wire.Wiring{Attachment: at, Owned: wire.Owned{Loopback: true}}, nil
}
