package kernel

import (
	"fmt"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// crowdedFrom is the number of ports, nine in ten, from which on a bridge that
// has no uplink is spoken of.
const crowdedFrom = maxPorts * 9 / 10

// Crowded says how much of what a link needs is in use, if it will soon be used
// up, and how to get past the limit; "" where there is enough.
func (h *Host) Crowded(link wire.Link) (warning string, err error) {
	veth, ok := link.(wire.Veth)
	if !ok || veth.Bridge == "" || h.takesMore(veth) {
		return "", nil
	}
	n, err := h.ports(veth.Bridge)
	if err != nil || n < crowdedFrom {
		return "", err
	}
	return fmt.Sprintf("bridge %s: %d of %d ports are in use: remove some, or use another network for containers with vlan, vlanTrunk or macspoofchk",
		veth.Bridge, n, maxPorts), nil
}
