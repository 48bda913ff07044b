package kernel

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// What CHECK takes for the route that was asked for.
func TestServes(t *testing.T) {
	to, scope := netip.MustParsePrefix("10.9.0.0/16"), int(netlink.SCOPE_UNIVERSE)
	want := wire.Route{To: to, Via: netip.MustParseAddr("10.1.0.1"), Metric: 7, MTU: 1400, AdvMSS: 1300, Scope: &scope}
	route := func(change func(*netlink.Route)) netlink.Route {
		r := netlink.Route{Dst: ipNet(to), Gw: net.IPv4(10, 1, 0, 1).To4(), LinkIndex: 3, Priority: 7, MTU: 1400, AdvMSS: 1300, Scope: netlink.SCOPE_UNIVERSE}
		change(&r)
		return r
	}
	hop := func(link int, last byte) *netlink.NexthopInfo {
		return &netlink.NexthopInfo{LinkIndex: link, Gw: net.IPv4(10, 1, 0, last).To4()}
	}
	for name, c := range map[string]struct {
		change func(*netlink.Route)
		serves bool
	}{
		"the same":        {func(*netlink.Route) {}, true},
		"another prefix":  {func(r *netlink.Route) { r.Dst = ipNet(netip.MustParsePrefix("10.8.0.0/16")) }, false},
		"a narrower one":  {func(r *netlink.Route) { r.Dst = ipNet(netip.MustParsePrefix("10.9.0.0/24")) }, false},
		"another gateway": {func(r *netlink.Route) { r.Gw = net.IPv4(10, 1, 0, 2).To4() }, false},
		"no gateway":      {func(r *netlink.Route) { r.Gw = nil }, false},
		"another link":    {func(r *netlink.Route) { r.LinkIndex = 4 }, false},
		"another metric":  {func(r *netlink.Route) { r.Priority = 8 }, false},
		"another MTU":     {func(r *netlink.Route) { r.MTU = 1500 }, false},
		"another MSS":     {func(r *netlink.Route) { r.AdvMSS = 1 }, false},
		"another scope":   {func(r *netlink.Route) { r.Scope = netlink.SCOPE_LINK }, false},
		"one of two hops": {func(r *netlink.Route) { r.MultiPath = []*netlink.NexthopInfo{hop(4, 1), hop(3, 1)} }, true},
		"two other hops":  {func(r *netlink.Route) { r.MultiPath = []*netlink.NexthopInfo{hop(4, 1), hop(3, 2)} }, false},
	} {
		if got := serves(route(c.change), want, 3); got != c.serves {
			t.Errorf("%s: %v", name, got)
		}
	}
	// What was left to the kernel may be anything.
	if !serves(route(func(r *netlink.Route) { r.Scope, r.Table = netlink.SCOPE_LINK, 9 }), wire.Route{To: to, Via: want.Via}, 3) {
		t.Error("a route with values of the kernel's choice is not taken")
	}
}
