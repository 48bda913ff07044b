package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// EnsureLocalRoute has the host take packets for a prefix as its own when they
// arrive by a device. It goes with the device.
func (h *Host) EnsureLocalRoute(prefix netip.Prefix, device string, metric int) error {
	link, err := h.link.LinkByName(device)
	if err != nil {
		return fmt.Errorf("look for %s: %w", device, err)
	}
	err = h.link.RouteAdd(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(prefix), Priority: metric,
		Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add local route to %s on %s: %w", prefix, device, err)
	}
	return nil
}

// addRoutes adds the container's routes one by one. Appending lets routes to
// one destination that differ in more than the gateway stand beside each other.
func (c *Container) addRoutes(link netlink.Link, groups [][]wire.Route) error {
	handle, err := c.library()
	if err != nil {
		return err
	}
	for _, group := range groups {
		err := handle.RouteAppend(routeOf(link, group))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: %w", addingRoute(group[0]), err)
		}
	}
	return nil
}

// particular tells whether a route has more than a gateway, or several.
func particular(group []wire.Route) bool {
	return len(group) > 1 || group[0] != (wire.Route{To: group[0].To, Via: group[0].Via})
}

func (s *steps) addRoute(index int, r wire.Route) {
	*s = append(*s, step{request: appendRoute(index, r), format: "%s", args: []any{addingRoute(r)}, mayExist: true})
}

// addingRoute is what a request was for.
type addingRoute wire.Route

func (r addingRoute) String() string {
	return fmt.Sprintf("add route to %s via %s", r.To, viaText(wire.Route(r)))
}

// appendRoute is the request for a route with nothing but a gateway, or none.
func appendRoute(index int, route wire.Route) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	header := nl.NewRtMsg()
	header.Family, header.Dst_len = unix.AF_INET, uint8(route.To.Bits())
	if route.To.Addr().Is6() {
		header.Family = unix.AF_INET6
	}
	if !route.Via.IsValid() {
		header.Scope = unix.RT_SCOPE_LINK
	}
	r.AddData(header)
	if route.To.Bits() > 0 {
		r.AddData(nl.NewRtAttr(unix.RTA_DST, route.To.Masked().Addr().AsSlice()))
	}
	if route.Via.IsValid() {
		r.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, route.Via.AsSlice()))
	}
	r.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	return r
}

func viaText(r wire.Route) string {
	if r.Via.IsValid() {
		return r.Via.String()
	}
	return "the link"
}

// routeOf makes one kernel route of routes that wire.Multipath put together.
func routeOf(link netlink.Link, group []wire.Route) *netlink.Route {
	r := group[0]
	route := &netlink.Route{
		Dst:      ipNet(r.To),
		Priority: r.Metric,
		Table:    r.Table,
		MTU:      r.MTU,
		AdvMSS:   r.AdvMSS,
		Scope:    netlink.SCOPE_UNIVERSE,
	}
	switch {
	case r.Scope != nil:
		route.Scope = netlink.Scope(*r.Scope)
	case !r.Via.IsValid():
		route.Scope = netlink.SCOPE_LINK
	}
	if len(group) == 1 {
		route.LinkIndex, route.Gw = link.Attrs().Index, ip(r.Via)
		return route
	}
	for _, hop := range group {
		route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: link.Attrs().Index, Gw: ip(hop.Via)})
	}
	return route
}

// checkRoutes finds out whether each route is there. Others may have added next
// hops to it.
func (c *Container) checkRoutes(link netlink.Link, routes []wire.Route) error {
	handle, err := c.library()
	if err != nil {
		return err
	}
	for _, want := range routes {
		family, table := netlink.FAMILY_V4, unix.RT_TABLE_MAIN
		if want.To.Addr().Is6() {
			family = netlink.FAMILY_V6
		}
		if want.Table != 0 {
			table = want.Table
		}
		have, err := handle.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("list routes of %s: %w", link.Attrs().Name, err)
		}
		if !slices.ContainsFunc(have, func(r netlink.Route) bool { return serves(r, want, link.Attrs().Index) }) {
			return fmt.Errorf("route to %s via %s is missing in %s%s", want.To, viaText(want), c.Path, particulars(want))
		}
	}
	return nil
}

// serves tells whether a route of the kernel is what was asked for. What was
// left to the kernel may be anything.
func serves(have netlink.Route, want wire.Route, link int) bool {
	if destination(have) != want.To.Masked() ||
		want.Metric != 0 && have.Priority != want.Metric ||
		want.MTU != 0 && have.MTU != want.MTU ||
		want.AdvMSS != 0 && have.AdvMSS != want.AdvMSS ||
		want.Scope != nil && want.To.Addr().Is4() && int(have.Scope) != *want.Scope {
		return false
	}
	hops := have.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{LinkIndex: have.LinkIndex, Gw: have.Gw}}
	}
	return slices.ContainsFunc(hops, func(hop *netlink.NexthopInfo) bool {
		via, _ := netip.AddrFromSlice(hop.Gw)
		return hop.LinkIndex == link && via.Unmap() == want.Via
	})
}

// destination is a route's prefix; the library gives none for a default route.
func destination(r netlink.Route) netip.Prefix {
	switch {
	case r.Dst != nil:
		return prefixOf(r.Dst)
	case r.Family == netlink.FAMILY_V6:
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// particulars names what a route must have besides its gateway.
func particulars(r wire.Route) string {
	text := ""
	for _, p := range []struct {
		name  string
		value int
	}{{"metric", r.Metric}, {"table", r.Table}, {"mtu", r.MTU}, {"advmss", r.AdvMSS}} {
		if p.value != 0 {
			text += fmt.Sprintf(", %s %d", p.name, p.value)
		}
	}
	return text
}
