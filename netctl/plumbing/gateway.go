package plumbing

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/plugins"
)

// byPriority is the order in which endpoints have a right to the default route:
// the highest gw-priority first, of equal ones the one that was asked for first.
func byPriority(endpoints []runner.Endpoint) []runner.Endpoint {
	ordered := slices.Clone(endpoints)
	slices.SortStableFunc(ordered, func(a, b runner.Endpoint) int { return cmp.Compare(b.Priority, a.Priority) })
	return ordered
}

// Rank implements runner.Networks. An endpoint that is not attached yet keeps its
// place free, of both families.
func (p Plumbing) Rank(_ context.Context, netns string, endpoints []runner.Endpoint, attached []runner.Attached) error {
	if len(endpoints) < 2 && len(attached) < 2 {
		return nil
	}
	var routes []plugins.DefaultRoute
	rank4, rank6 := 0, 0
	for _, e := range byPriority(endpoints) {
		i := slices.IndexFunc(attached, func(a runner.Attached) bool { return a.Network == e.Network && len(a.Undo) > 0 })
		if i < 0 {
			rank4, rank6 = rank4+1, rank6+1
			continue
		}
		gateways, err := waysOut(attached[i])
		if err != nil {
			return fmt.Errorf("network %s: %w", e.Network, err)
		}
		for _, gateway := range gateways {
			rank := &rank6
			if gateway.Is4() {
				rank = &rank4
			}
			routes = append(routes, plugins.DefaultRoute{IfName: attached[i].IfName, Gateway: gateway, Rank: *rank})
			*rank++
		}
	}
	if len(routes) == 0 {
		return nil
	}
	return plugins.RankDefaults(netns, routes)
}

// waysOut are the gateways of an attachment's default routes, at most one of each
// family. A route with a metric of its network's (option metric) is not among them:
// that network's place was chosen.
func waysOut(a runner.Attached) ([]netip.Addr, error) {
	var u undo
	if err := json.Unmarshal(a.Undo, &u); err != nil {
		return nil, fmt.Errorf("record of the attachment: %w", err)
	}
	var result plugins.Result
	if err := json.Unmarshal(u.Result, &result); err != nil {
		return nil, fmt.Errorf("record of the attachment: %w", err)
	}
	var gateways []netip.Addr
	for _, r := range result.Routes {
		gateway, ok := netip.AddrFromSlice(r.GW)
		gateway = gateway.Unmap()
		ones, _ := r.Dst.Mask.Size()
		known := slices.ContainsFunc(gateways, func(g netip.Addr) bool { return g.Is4() == gateway.Is4() })
		if ok && ones == 0 && r.Priority == 0 && !known {
			gateways = append(gateways, gateway)
		}
	}
	return gateways, nil
}
