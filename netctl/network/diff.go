package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Differences tells in what the network is not what the request asks for. What
// the request leaves open is satisfied by anything.
func (n Network) Differences(r Request) []string {
	var list []string
	differ := func(what string, is, wanted any) {
		list = append(list, fmt.Sprintf("%s is %v, not %v", what, is, wanted))
	}
	if d, err := driverNamed(r.Driver); err == nil && d.name != n.Driver {
		differ("driver", n.Driver, d.name)
	}
	var prefixes []netip.Prefix
	var gateways []netip.Addr
	for _, s := range n.Subnets() {
		prefixes, gateways = append(prefixes, s.Prefix), append(gateways, s.Gateway)
	}
	for _, wanted := range r.Subnets {
		if !slices.Contains(prefixes, wanted) {
			differ("subnet", joined(prefixes, ", "), wanted)
		}
	}
	for _, wanted := range r.Gateways {
		if !slices.Contains(gateways, wanted) {
			differ("gateway", joined(gateways, ", "), wanted)
		}
	}
	if n.Internal != r.Internal {
		differ("internal", n.Internal, r.Internal)
	}
	if r.IPv6 && !n.HasFamily(false) {
		differ("ipv6", false, true)
	}
	if r.Device != "" && r.Device != n.Device {
		differ("device", n.Device, r.Device)
	}
	if !maps.Equal(n.Options, notNil(r.Options)) {
		differ("options", n.Options, r.Options)
	}
	return list
}
