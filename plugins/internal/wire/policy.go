package wire

import (
	"fmt"
	"net/netip"
)

// Protocol is a transport protocol that can be published.
type Protocol string

// DNSPort is where the containers ask for names.
const DNSPort = 53

// The protocols that CNI's portMappings know.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// NetworkPolicy is what a network as a whole asks of the host's packet filter.
// Its rules are ensured by each attachment and removed with the network's last
// one. The zero value asks for nothing.
type NetworkPolicy struct {
	Network string
	// Bridge is the host-side device on which the network's traffic appears.
	Bridge string
	// Subnets of the network, of both families.
	Subnets []netip.Prefix
	// Masquerade hides the subnets behind the host's address on the way out.
	Masquerade bool
	// MasqueradeAs hides the subnets behind this host address of their
	// family instead of the outgoing link's.
	MasqueradeAs []netip.Addr
	// NoMasquerade are destinations that see the containers' own addresses;
	// "::/0" leaves all IPv6 traffic alone.
	NoMasquerade []netip.Prefix
	// Forward accepts what comes from the bridge, the answers to it, and
	// published ports, whatever the policy of the FORWARD hook says (Docker
	// sets it to DROP).
	Forward bool
	// Isolate keeps other isolated networks' containers away; published
	// ports stay reachable.
	Isolate bool
	// Apart keeps the network's own members from each other, by published
	// ports too. Only where the kernel shows bridged packets to the rules
	// (br_netfilter): else a bridge isolates its ports (Veth.Isolated).
	Apart bool
	// Internal lets no traffic out of or into the network.
	Internal bool
	// Trunk is the device by which other hosts' part of the network arrives and
	// is reached: what passes between it and the bridge stays inside. "" where
	// the network is this host's alone.
	Trunk string
	// DNS are the gateway addresses on which our resolver answers, over UDP and
	// TCP: accepted there from the bridge ahead of the host's own rules. What is
	// sent to port 53 of an address that has another port is led to that port:
	// another server of the host has port 53 of all addresses.
	DNS []netip.AddrPort
	// PublishFrom and PublishOn confine the network's published ports to
	// connections from these sources or by these host links; both empty mean
	// no limit. The host itself and the network's members are never kept out.
	PublishFrom []netip.Prefix
	PublishOn   []string
	// AdminChain is a chain of iptables in which the host's administrator
	// decides before us about what enters and leaves the network; "" is none.
	// It is made if it is not there, and never removed. With nftables his
	// rules need no place among ours: a packet must pass both.
	AdminChain string
}

// IsZero tells whether the policy asks for any rule at all.
func (p NetworkPolicy) IsZero() bool {
	return !p.Masquerade && !p.Filters()
}

// Filters tells whether the policy decides about packets, not only about
// their addresses.
func (p NetworkPolicy) Filters() bool {
	return p.Forward || p.Isolate || p.Apart || p.Internal || len(p.DNS) > 0 || p.Confines()
}

// Confines tells whether published ports are open to some sources only.
func (p NetworkPolicy) Confines() bool { return len(p.PublishFrom)+len(p.PublishOn) > 0 }

// Publish leads a range of host ports to a range of container ports of the
// same length, for the address family of Container.
type Publish struct {
	Protocol Protocol
	// HostIP confines the mapping to one host address; the zero Addr means
	// every address of the family.
	HostIP        netip.Addr
	HostPort      uint16
	Container     netip.Addr
	ContainerPort uint16
	// Count is the length of the range; 0 and 1 both mean a single port.
	Count uint16
	// Subnet is the network's prefix that holds Container: traffic from it
	// through the host's address must be masqueraded to come back (hairpin).
	// The zero Prefix leaves that out.
	Subnet netip.Prefix
	// HideClients masquerades all clients of the subnet's published ports,
	// for containers whose answers would take another way.
	HideClients bool
	// MarkChain is a chain of iptables that marks the connections which would
	// be masqueraded, for another program's rule to do that; "" is none.
	MarkChain string
	// Only narrows the mapping to some connections.
	Only Conditions
}

// Last is the last host port of the range.
func (p Publish) Last() uint16 { return p.HostPort + max(p.Count, 1) - 1 }

// LastContainer is the last container port of the range.
func (p Publish) LastContainer() uint16 { return p.ContainerPort + max(p.Count, 1) - 1 }

func (p Publish) String() string {
	host := "*"
	if p.HostIP.IsValid() {
		host = p.HostIP.String()
	}
	mapping := fmt.Sprintf("%s:%s->%s/%s", host, span(p.HostPort, p.Last()),
		netip.AddrPortFrom(p.Container, p.ContainerPort), p.Protocol)
	if !p.Only.IsZero() {
		mapping += " (" + p.Only.String() + ")"
	}
	return mapping
}

func span(first, last uint16) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
