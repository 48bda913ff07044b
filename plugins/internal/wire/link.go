package wire

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"strconv"
)

// HardwareAddr is an Ethernet address that can be compared and used as a key.
// The zero value means "none given".
type HardwareAddr [6]byte

// ParseHardwareAddr reads a unicast Ethernet address.
func ParseHardwareAddr(s string) (HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return HardwareAddr{}, fmt.Errorf("invalid MAC address %q: want six octets such as 02:42:ac:11:00:02", s)
	}
	h := HardwareAddr(mac)
	if h[0]&1 != 0 || h == (HardwareAddr{}) {
		return HardwareAddr{}, fmt.Errorf("invalid MAC address %q: want a unicast address (even first octet, not zero)", s)
	}
	return h, nil
}

// IsValid tells a real address from the zero value.
func (h HardwareAddr) IsValid() bool { return h != HardwareAddr{} }

// Net is the form the netlink library wants.
func (h HardwareAddr) Net() net.HardwareAddr { return append(net.HardwareAddr(nil), h[:]...) }

func (h HardwareAddr) String() string {
	text := hex.EncodeToString(h[:])
	return text[0:2] + ":" + text[2:4] + ":" + text[4:6] + ":" + text[6:8] + ":" + text[8:10] + ":" + text[10:12]
}

// Bridge is a bridge device in the host's namespace, shared by the network.
type Bridge struct {
	Name string
	// MTU in bytes applies only when the bridge is made; 0 is the kernel's
	// default. See also EgressMTU.
	MTU int
	// MAC is given at creation: a bridge without an address of its own takes
	// the lowest of its ports and changes as they come and go (cni#285).
	MAC HardwareAddr
	// Gateways are the bridge's own addresses.
	Gateways []netip.Prefix
	// ReplaceGateways removes a conflicting address instead of refusing
	// (the reference's forceAddress).
	ReplaceGateways bool
	// MoreGateways lets addresses of other subnets of a family stay beside
	// them: the network has more than one.
	MoreGateways bool
	Promiscuous  bool
	// VLANs has the bridge keep VLANs apart (vlan_filtering).
	VLANs bool
}

// EgressMTU stands for the MTU of the interface by which the host reaches the
// world, found when the link is made: what a container sends then leaves the
// host in one piece.
const EgressMTU = -1

// A Link is the container's end of an attachment and what carries it. The set
// is closed: Veth and Macvlan.
type Link interface {
	// ContainerName is the interface's name inside the container.
	ContainerName() string
	// Up tells whether it is brought up.
	Up() bool
	// lines are the commands that make it.
	lines(container string) []string
}

// GuestPort is a link of the host as a port of the pair's bridge, in the same
// VLANs and with the same flags. Its addresses are its own affair.
func (v Veth) GuestPort(name string) Veth {
	return Veth{Host: name, Bridge: v.Bridge, Hairpin: v.Hairpin, Isolated: v.Isolated, VLANs: v.VLANs}
}

// Veth is a pair: one end in the container, one on the host, a bridge port.
type Veth struct {
	Host      string // computed, see Attachment.HostName
	Container string
	Bridge    string // "" leaves the host end without a master
	MTU       int    // bytes on both ends; 0 is the bridge's; see EgressMTU
	MAC       HardwareAddr
	Hairpin   bool
	Isolated  bool
	// OwnMACOnly drops frames from the container with another source than MAC.
	OwnMACOnly bool
	VLANs      PortVLANs
	// Down leaves the container's end down.
	Down bool
}

// ContainerName implements Link.
func (v Veth) ContainerName() string { return v.Container }

// What the names of host-side links start with: that of a pair, and that of
// the device through which a container's traffic is led to be limited.
const (
	VethPrefix = "veth"
	IfbPrefix  = "bwp"
)

// Uplinks is how many pairs of links may attach more containers to a bridge than
// it has ports.
const Uplinks = 16

// Uplink names such a pair: its port of the bridge, and the containers' parent.
// They are numbered from 0.
func Uplink(bridge string, number int) (port, parent string) {
	const length = 11
	parts := []string{bridge}
	if number > 0 { // once there was only one
		parts = append(parts, strconv.Itoa(number))
	}
	return "nupl" + hash(length, parts...), "npar" + hash(length, parts...)
}

// Uplink is the number of the one that attaches the container if it gets no port
// of its own. It follows from the name, so that nobody has to count, and all get
// about as many.
func (v Veth) Uplink() int {
	sum := fnv.New32a()
	_, _ = io.WriteString(sum, v.Host) // it can't fail
	return int(sum.Sum32() % Uplinks)
}
