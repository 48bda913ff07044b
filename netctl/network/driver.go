package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/ipam"
)

const (
	driverBridge  = "bridge"
	driverMacvlan = "macvlan"
)

// A driver is a kind of network: the options it takes and the plugin entry it
// makes of a definition. A new kind is one more value in drivers.
type driver struct {
	name    string // of --driver, and the plugin's type
	options []option
	// names tells whether our resolver can serve such a network.
	names bool
	// bridged networks have a bridge on the host.
	bridged bool
	// pools are where subnets come from that nobody asked for; nil: the store's.
	pools []ipam.Pool
	// ownsSubnet is false where the subnet is that of the wire outside, which
	// the host of course has a route to.
	ownsSubnet bool
	check      func(Request, settings) error
	entry      func(definition) any
}

func drivers() []driver { return []driver{bridgeDriver(), macvlanDriver(), overlayDriver()} }

// Drivers gives the names that --driver takes.
func Drivers() []string {
	var names []string
	for _, d := range drivers() {
		names = append(names, d.name)
	}
	return names
}

func driverNamed(name string) (driver, error) {
	switch name {
	case "":
		name = driverBridge
	case "vxlan":
		name = "overlay"
	case Host, None, "null":
		return driver{}, fmt.Errorf("driver %s makes no further networks: use the predefined one", name)
	}
	all := drivers()
	if i := slices.IndexFunc(all, func(d driver) bool { return d.name == name }); i >= 0 {
		return all[i], nil
	}
	return driver{}, fmt.Errorf("unsupported driver %s (known: %s)", name, strings.Join(Drivers(), ", "))
}

// A definition is a request with everything chosen.
type definition struct {
	Request
	settings
	id    string
	pools []ipam.Set
}

// ipam is the section for our allocator, nil for a network without addresses.
func (d definition) ipam(routes ...routeEntry) *ipamEntry {
	if d.NoIPAM {
		return nil
	}
	for _, r := range d.Routes {
		routes = append(routes, routeEntry(r))
	}
	e := &ipamEntry{Type: ipamType, Ranges: d.pools, Routes: routes}
	if len(d.Ranges) > 0 {
		e.Static = &staticEntry{From: "subnet"}
		for _, purpose := range sortedKeys(d.Reserved) {
			e.Static.Except = append(e.Static.Except, d.Reserved[purpose])
		}
	}
	return e
}

// defaultRoutes lead out through the gateway, one for each family.
func (d definition) defaultRoutes() []routeEntry {
	var routes []routeEntry
	for _, set := range d.pools {
		to := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if set[0].Subnet.Addr().Is4() {
			to = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		routes = append(routes, routeEntry{To: to, Metric: d.metric})
	}
	return routes
}

func (d definition) dns() *dnsEntry {
	if len(d.DNS) == 0 {
		return nil
	}
	entry := &dnsEntry{}
	for _, server := range d.DNS {
		entry.Nameservers = append(entry.Nameservers, server.String())
	}
	return entry
}

// capabilities declares what the runtime may pass in runtimeConfig.
func capabilities(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, name := range names {
		set[name] = true
	}
	return set
}

// onePerFamily refuses a second subnet of a family.
func onePerFamily(driver string, subnets []netip.Prefix) error {
	for i, subnet := range subnets {
		for _, other := range subnets[:i] {
			if other.Addr().Is4() == subnet.Addr().Is4() {
				return fmt.Errorf("driver %s takes one subnet of each address family, not both %s and %s", driver, other, subnet)
			}
		}
	}
	return nil
}
