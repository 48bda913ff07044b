package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Metrics of a container's default routes: of the one that leads out what the
// kernel gives a route without (net/ipv6/route.c, IP6_RT_PRIO_USER; IPv4 has 0),
// and of those that stand by larger ones, in their order.
const (
	firstMetric4  = 0
	firstMetric6  = 1024
	standbyMetric = 1024
)

// RankDefaults gives the container's default routes the metrics of their ranks.
// Without it two routes of one metric stand beside each other: of IPv4 the older
// one is used, of IPv6 both, a connection by the one, the next by the other. A route
// that is not there is passed over; one that is moved is added before it is
// taken away, so that there is a way out at every moment.
func (c *Container) RankDefaults(routes []wire.DefaultRoute) error {
	handle, err := c.library()
	if err != nil {
		return err
	}
	for _, r := range routes {
		link, err := handle.LinkByName(r.Link)
		if absent(err) {
			continue
		}
		if err == nil {
			err = moveDefault(handle, link.Attrs().Index, r.Via, rankMetric(r.Via.Is4(), r.Rank))
		}
		if err != nil {
			return fmt.Errorf("rank the default route of %s in %s: %w", r.Link, c.Path, err)
		}
	}
	return nil
}

func rankMetric(is4 bool, rank int) int {
	switch {
	case rank > 0:
		return standbyMetric + rank
	case is4:
		return firstMetric4
	}
	return firstMetric6
}

// moveDefault leaves the default route by a gateway with this metric alone.
func moveDefault(handle *netlink.Handle, link int, via netip.Addr, metric int) error {
	have, err := defaultMetrics(handle, link, via)
	if err != nil || len(have) == 0 {
		return err
	}
	route := func(metric int) *netlink.Route {
		return &netlink.Route{LinkIndex: link, Gw: ip(via), Dst: ipNet(anywhere(via)), Priority: metric}
	}
	there := false
	for _, m := range have {
		there = there || m == metric
	}
	if !there {
		if err := handle.RouteAppend(route(metric)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add one via %s with metric %d: %w", via, metric, err)
		}
	}
	// IPv4 takes a request without a metric for any, and the smallest first.
	for _, m := range have {
		if m == metric {
			continue
		}
		if err := handle.RouteDel(route(m)); err != nil && !absent(err) {
			return fmt.Errorf("remove the one via %s with metric %d: %w", via, m, err)
		}
	}
	return nil
}

// defaultMetrics are those of the default routes by a gateway, in the main table.
func defaultMetrics(handle *netlink.Handle, link int, via netip.Addr) ([]int, error) {
	family := netlink.FAMILY_V6
	if via.Is4() {
		family = netlink.FAMILY_V4
	}
	routes, err := handle.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	want := wire.Route{To: anywhere(via), Via: via}
	var metrics []int
	for _, r := range routes {
		if serves(r, want, link) {
			metrics = append(metrics, r.Priority)
		}
	}
	return metrics, nil
}

// anywhere is the prefix of all addresses of a family.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
