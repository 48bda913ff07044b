package bridge

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// maxVLAN is the last VLAN identifier that can be used (IEEE 802.1Q: 4095 is
// reserved).
const maxVLAN = 4094

// trunk is one element of the key vlanTrunk: a range, a single VLAN, or both.
type trunk struct {
	MinID *int `json:"minID"`
	MaxID *int `json:"maxID"`
	ID    *int `json:"id"`
}

// parseVLANs reads the keys vlan, vlanTrunk and preserveDefaultVlan. A trunk
// without a native VLAN has VLAN 1, as the reference plugin does it.
func (c config) parseVLANs() (wire.PortVLANs, error) {
	if c.VLAN < 0 || c.VLAN > maxVLAN {
		return wire.PortVLANs{}, fmt.Errorf("key vlan: invalid value %d: want 1 to %d, or 0 for none", c.VLAN, maxVLAN)
	}
	result := wire.PortVLANs{Native: uint16(c.VLAN), KeepDefault: c.PreserveDefaultVLAN}
	if len(c.VLANTrunk) == 0 {
		return result, nil
	}
	var members [maxVLAN + 1]bool
	for i, t := range c.VLANTrunk {
		if err := t.enter(members[:]); err != nil {
			return wire.PortVLANs{}, fmt.Errorf("key vlanTrunk[%d]: %w", i, err)
		}
	}
	if c.VLAN == 0 && slices.Contains(members[:], true) {
		result.Native = 1
	}
	members[result.Native] = false
	result.Tagged = ranges(members[:])
	return result, nil
}

func (t trunk) enter(members []bool) error {
	if (t.MinID == nil) != (t.MaxID == nil) {
		return fmt.Errorf("minID and maxID: want both or neither")
	}
	for _, bounds := range []struct{ first, last *int }{{t.MinID, t.MaxID}, {t.ID, t.ID}} {
		if bounds.first == nil {
			continue
		}
		first, last := *bounds.first, *bounds.last
		if first < 1 || last > maxVLAN || first > last {
			return fmt.Errorf("invalid VLANs %d to %d: want 1 to %d, the smaller one first", first, last, maxVLAN)
		}
		for id := first; id <= last; id++ {
			members[id] = true
		}
	}
	return nil
}

// ranges puts the members together, in order.
func ranges(members []bool) []wire.VLANRange {
	var result []wire.VLANRange
	for id := range members {
		switch {
		case !members[id]:
		case id > 0 && members[id-1]:
			result[len(result)-1].Last = uint16(id)
		default:
			result = append(result, wire.VLANRange{First: uint16(id), Last: uint16(id)})
		}
	}
	return result
}

// gatewayDevice is the host's interface at which the containers find their
// gateway: the bridge, or the host's place in their VLAN.
func (c config) gatewayDevice() string {
	if c.hasVLANGateway() {
		return fmt.Sprintf("%s.%d", c.Bridge, c.VLAN)
	}
	return c.Bridge
}

func (c config) hasVLANGateway() bool { return c.VLAN != 0 && c.IsGateway }

func (c config) vlanGateway(gateways []netip.Prefix) *wire.VLANGateway {
	if !c.hasVLANGateway() {
		return nil
	}
	name := c.gatewayDevice()
	at := wire.Attachment{Network: "vlan gateway", Container: name}
	return &wire.VLANGateway{
		Name: name, Port: at.HostName(wire.VethPrefix), Bridge: c.Bridge, MAC: at.MAC(),
		VLANs:    wire.PortVLANs{Native: c.vlans.Native, KeepDefault: c.PreserveDefaultVLAN},
		Gateways: gateways, ReplaceGateways: c.ForceAddress,
	}
}
