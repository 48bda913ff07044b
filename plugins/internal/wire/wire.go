// Package wire is the vocabulary in which a mode says what an attachment needs
// of the kernel: bridges, links, addresses, routes, sysctls, packet-filter
// policy. Everything here is a plain value; nothing here touches the machine.
// Package kernel and package firewall make the values true, compare them with
// what is there, and take the owned half away again.
package wire

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
)

// Attachment names one (network, container, interface). Everything we make in
// the kernel is owned by an attachment or by a network.
type Attachment struct {
	Network   string
	Container string
	IfName    string
	// Part is the chained plugin whose share this is; "" for the one that
	// makes the link.
	Part string
}

// String is the form used in messages and in rule comments.
func (a Attachment) String() string {
	text := a.Network + "/" + a.Container + "/" + a.IfName
	if a.Part != "" {
		text += " (" + a.Part + ")"
	}
	return text
}

// NetworkLabel names the network's share of the packet filter's rules: that of
// the plugin that makes the links, or of one chained after it. A plus sign can't be
// part of a network's name.
func (a Attachment) NetworkLabel() string {
	if a.Part == "" {
		return a.Network
	}
	return a.Network + "+" + a.Part
}

// HostName computes the name of a host-side object of this attachment from a
// prefix and a hash, so that undoing needs no memory. The name has 15 bytes,
// the kernel's limit (IFNAMSIZ-1). The prefixes "veth" and "bwp" are what
// NetworkManager's and networkd's ignore rules look for.
func (a Attachment) HostName(prefix string) string {
	const limit = 15
	parts := []string{a.Network, a.Container, a.IfName}
	if a.Part != "" {
		parts = append(parts, a.Part)
	}
	return prefix + hash(limit-len(prefix), parts...)
}

// MAC computes a stable, locally administered unicast address for the
// container's end, so that a result can be written before the link exists and
// an attachment that is made again keeps its neighbours' caches valid.
func (a Attachment) MAC() HardwareAddr {
	sum := sha256.Sum256([]byte("mac\x00" + a.Network + "\x00" + a.Container + "\x00" + a.IfName))
	var mac HardwareAddr
	copy(mac[:], sum[:6])
	mac[0] = mac[0]&^0x01 | 0x02
	return mac
}

// hash gives n lower-case base32 characters that stand for the parts.
func hash(n int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	return text[:n]
}

// A Wiring is all that one attachment needs. A chained plugin's holds what it
// adds to a link that is there already.
type Wiring struct {
	Attachment Attachment
	// Shared is ensured by every attachment of the network and undone by
	// none of them.
	Shared Shared
	// Owned comes and goes with the attachment.
	Owned Owned
}

// Shared is the half of a Wiring that belongs to the network.
type Shared struct {
	Bridge *Bridge
	// VLANGateway is the host's own place in a VLAN of the bridge.
	VLANGateway *VLANGateway
	// Sysctls are set in the host's namespace.
	Sysctls []Sysctl
	// Network is the packet-filter policy of the network as a whole.
	Network NetworkPolicy
}

// Owned is the half of a Wiring that belongs to the attachment.
type Owned struct {
	// Link is what appears in the container; nil where the mode makes none.
	Link Link
	// Guests are links of the host that the plugins before have made; they
	// become ports of the bridge like the link's own end.
	Guests []string
	// Loopback brings the container's lo up.
	Loopback  bool
	Addresses []Address
	// Announce has the neighbours told where the addresses are now: others may
	// have had them, and have been remembered. It reaches every port of the
	// segment, so it is left out where nobody can.
	Announce bool
	// DetectDuplicates has the IPv6 addresses probed for on the link before
	// they are used (RFC 4862, 5.4), which takes one to two seconds: for links
	// to a network that is not ours alone.
	DetectDuplicates bool
	Routes           []Route
	// Sysctls are set in the container's namespace.
	Sysctls []Sysctl
	// Publish are the host ports that lead to this attachment.
	Publish []Publish
	// ResolverInside has our resolver answer in the container's own namespace,
	// where it can't reach an address of the host.
	ResolverInside bool
	// ResolveOnly has it forward nothing: the network is internal.
	ResolveOnly bool
	// Bandwidth limits the link, nil does not.
	Bandwidth *Bandwidth
	// Tuning changes settings of a link that another plugin made.
	Tuning *Tuning
}

// IsZero tells whether the Wiring of a chained plugin asks for anything at
// all; the addresses in it are somebody else's.
func (w Wiring) IsZero() bool {
	return w.Shared.Network.IsZero() && len(w.Owned.Publish) == 0 && w.Owned.Bandwidth == nil && w.Owned.Tuning == nil && !w.Owned.ResolverInside
}

// Address is an address of the container's link with its gateway; the gateway
// is the zero Addr where there is none.
type Address struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// Route is a route in the container. The zero Via means "through the link".
type Route struct {
	To     netip.Prefix
	Via    netip.Addr
	Metric int  // 0: the kernel's choice
	Table  int  // 0: main
	MTU    int  // bytes, 0: the link's
	AdvMSS int  // bytes, 0: from the MTU
	Scope  *int // nil: global with a gateway, else link
}

// DefaultRoute is one of the ways out that a container with several networks has.
type DefaultRoute struct {
	Link string
	Via  netip.Addr
	// Rank is its place among those of its family: 0 leads out, the next one when
	// those before it are gone.
	Rank int
}

// Sysctl is one kernel parameter in path form ("net/ipv4/ip_forward").
type Sysctl struct {
	Path  string
	Value string
	// Optional marks an improvement that a tree which can't be written (in
	// nested and rootless containers) may do without.
	Optional bool
}
