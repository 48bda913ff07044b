package wire

import (
	"fmt"
	"slices"
)

// Multipath puts routes together that differ in nothing but the gateway: the
// kernel has them as one route with several next hops, among which it spreads
// the connections. The order of first appearance is kept.
func Multipath(routes []Route) [][]Route {
	var groups [][]Route
	for _, r := range routes {
		i := slices.IndexFunc(groups, func(g []Route) bool { return r.Via.IsValid() && r.joins(g[0]) })
		if i < 0 {
			groups = append(groups, []Route{r})
		} else if !slices.ContainsFunc(groups[i], func(o Route) bool { return o.Via == r.Via }) {
			groups[i] = append(groups[i], r)
		}
	}
	return groups
}

// joins tells whether two routes are the same but for the gateway.
func (r Route) joins(other Route) bool {
	sameScope := r.Scope == nil && other.Scope == nil || r.Scope != nil && other.Scope != nil && *r.Scope == *other.Scope
	return sameScope && other.Via.IsValid() && r.To == other.To && r.Metric == other.Metric && r.Table == other.Table &&
		r.MTU == other.MTU && r.AdvMSS == other.AdvMSS
}

// routeLine is the command that makes one route of a group that Multipath gives.
func routeLine(group []Route, dev string) string {
	r := group[0]
	line := "route append " + r.To.String()
	if len(group) == 1 {
		if r.Via.IsValid() {
			line += " via " + r.Via.String()
		}
		line += " dev " + dev
	}
	for _, option := range []struct {
		name  string
		value int
	}{{"metric", r.Metric}, {"table", r.Table}, {"mtu", r.MTU}, {"advmss", r.AdvMSS}} {
		if option.value != 0 {
			line += fmt.Sprintf(" %s %d", option.name, option.value)
		}
	}
	if r.Scope != nil {
		line += fmt.Sprintf(" scope %d", *r.Scope)
	}
	if len(group) > 1 {
		for _, hop := range group {
			line += fmt.Sprintf(" nexthop via %s dev %s", hop.Via, dev)
		}
	}
	return line
}
