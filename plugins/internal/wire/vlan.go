package wire

import (
	"fmt"
	"net/netip"
)

// PortVLANs says to which VLANs of its bridge a port belongs (IEEE 802.1Q).
// The zero value leaves the port as the bridge makes it.
type PortVLANs struct {
	// Native is the VLAN of the untagged frames in both directions; 0 for none.
	Native uint16
	// Tagged are the VLANs of which the port carries tagged frames; they
	// don't overlap, and Native is in none.
	Tagged []VLANRange
	// KeepDefault leaves the port in the bridge's default VLAN as well.
	KeepDefault bool
}

// IsZero tells that the port is left as it is.
func (p PortVLANs) IsZero() bool { return p.Native == 0 && len(p.Tagged) == 0 }

// VLANRange is a range of VLAN identifiers, both ends included.
type VLANRange struct{ First, Last uint16 }

func (r VLANRange) String() string { return span(r.First, r.Last) }

func (p PortVLANs) lines(port string) []string {
	if p.IsZero() {
		return nil
	}
	var lines []string
	if !p.KeepDefault {
		lines = append(lines, fmt.Sprintf("bridge vlan del dev %s vid 1", port))
	}
	if p.Native != 0 {
		lines = append(lines, fmt.Sprintf("bridge vlan add dev %s vid %d pvid untagged", port, p.Native))
	}
	for _, r := range p.Tagged {
		lines = append(lines, fmt.Sprintf("bridge vlan add dev %s vid %s", port, r))
	}
	return lines
}

// A VLANGateway is a pair of links of the host: Port is a port of the bridge in
// the one VLAN, and Name, with the gateway addresses, is where the host speaks
// to that VLAN. Like the bridge it is shared and no attachment removes it.
type VLANGateway struct {
	Name   string
	Port   string
	Bridge string
	VLANs  PortVLANs
	MAC    HardwareAddr // of Name
	// Gateways and ReplaceGateways mean what they do for a Bridge.
	Gateways        []netip.Prefix
	ReplaceGateways bool
}

func (g VLANGateway) lines() []string {
	lines := append([]string{fmt.Sprintf("ip link add %s up master %s type veth peer name %s address %s", g.Port, g.Bridge, g.Name, g.MAC)},
		g.VLANs.lines(g.Port)...)
	lines = append(lines, gatewayLines(g.Name, g.Gateways, g.ReplaceGateways)...)
	return append(lines, "ip link set "+g.Name+" up")
}
