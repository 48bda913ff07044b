// Package network keeps the named networks. A network is a CNI configuration
// list in the configuration directory and nothing else: what `netctl create`
// writes, containerd and nerdctl can load as it is, and what podman or a
// cluster's installer put there is listed beside ours.
//
// A Request says what somebody wants; Store.Create checks it against the other
// networks and against the host, chooses what was left open (subnet, gateway,
// bridge name), and writes the list. Parse goes the other way, from a list to
// a Network. The package computes and writes files; it makes no links.
package network

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam"
)

// Names of the predefined networks.
const (
	Default = "bridge" // where containers go that ask for nothing; made on first use
	Host    = "host"   // the host's own network namespace
	None    = "none"   // loopback only
)

// A Network is a network as its configuration list describes it.
type Network struct {
	Name string
	// ID has 64 hex digits. Lists that are not ours carry none and are given
	// one computed from the name.
	ID string
	// Driver is the type of the list's first plugin.
	Driver string
	// Device is the bridge, or the parent interface of a macvlan network.
	Device string
	// Pools are the ranges addresses come from, one set for each address that
	// a container gets.
	Pools []ipam.Set
	// Routes that every container gets beside the default route.
	Routes []Route

	Internal bool
	// Names tells whether our resolver serves the network.
	Names bool
	// DNS are the servers asked for names that are not ours; none: the host's.
	DNS []netip.Addr

	Labels, Options map[string]string
	// Reserved are addresses kept for other uses, by their purpose
	// (docker's --aux-address).
	Reserved map[string]netip.Addr
	Created  time.Time

	// Ours tells whether netctl made the list and may remove it.
	Ours bool
	// File is the list's path; "" for what is predefined and on no disk.
	File string
	// List is the configuration list as CNI wants it. It is nil only for the
	// default network as long as nobody has used it.
	List []byte
}

// A Subnet is a network's prefix with the gateway in it, which is the zero
// Addr where there is none.
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
	// Ranges are the addresses given out, within Prefix.
	Ranges []ipam.Range
}

// Subnets are the distinct prefixes of the pools, in order.
func (n Network) Subnets() []Subnet {
	var subnets []Subnet
	for _, r := range slices.Concat(n.Pools...) {
		same := func(s Subnet) bool { return s.Prefix == r.Subnet }
		i := slices.IndexFunc(subnets, same)
		if i < 0 {
			i = len(subnets)
			subnets = append(subnets, Subnet{Prefix: r.Subnet, Gateway: r.Gateway})
		}
		subnets[i].Ranges = append(subnets[i].Ranges, r)
	}
	return subnets
}

// HasFamily tells whether the network has a subnet of IPv4 or of IPv6.
func (n Network) HasFamily(is4 bool) bool {
	return slices.ContainsFunc(n.Subnets(), func(s Subnet) bool { return s.Prefix.Addr().Is4() == is4 })
}

// ShortID is the form of the ID that people read.
func (n Network) ShortID() string { return n.ID[:min(12, len(n.ID))] }

// Predefined tells whether the network is one of those that always exist.
func (n Network) Predefined() bool { return predefinedName(n.Name) }

// A Route leads to a prefix through an address inside the network. The zero
// Via stands for the network's gateway.
type Route struct {
	To     netip.Prefix
	Via    netip.Addr
	Metric int // 0: the kernel's choice
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
