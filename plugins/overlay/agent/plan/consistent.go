package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// consistent gives the networks without those that contradict another one. What
// all share, the fence and the routes, is written as a whole: a single network
// that can't be in it beside the others would keep everybody's from being
// changed. Those that this host has pools of count first, then older ones.
func (in Input) consistent() (networks []store.Network, conflicts []string) {
	all := slices.Clone(in.View.Networks)
	slices.SortStableFunc(all, func(a, b store.Network) int {
		if x, y := in.owns(a.Name), in.owns(b.Name); x != y {
			if x {
				return -1
			}
			return 1
		}
		return a.Created.Compare(b.Created)
	})
	bridges := map[string]string{}
	for _, n := range all {
		bridge := BridgeOf(n)
		why := contradiction(n, bridge, networks, bridges)
		if r, around := n.Around(in.Local); around {
			why = fmt.Sprintf("its range %s has this host's own tunnel address %s in it: this host could speak to nobody there any more", r, in.Local)
		}
		if why != "" {
			conflicts = append(conflicts, fmt.Sprintf("network %s is left out: %s", n.Name, why))
			continue
		}
		networks, bridges[bridge] = append(networks, n), n.Name
	}
	slices.SortFunc(networks, func(a, b store.Network) int { return strings.Compare(a.Name, b.Name) })
	return networks, conflicts
}

func (in Input) owns(network string) bool {
	return slices.ContainsFunc(in.Owned, func(c store.Claim) bool { return c.Network == network })
}

// contradiction says why a network can't be beside the others, whose bridges are
// known by name; "" if it can.
func contradiction(n store.Network, bridge string, others []store.Network, bridges map[string]string) string {
	switch {
	case n.Group == 0:
		return "it has no group, by which its packets are known"
	case !cni.IsIfName(bridge) || bridge == handover.Device:
		return fmt.Sprintf("its definition names the bridge %q: want 1 to 15 bytes without '/', ':' and space, and not %s", bridge, handover.Device)
	case bridges[bridge] != "":
		return fmt.Sprintf("its bridge %s is network %s's", bridge, bridges[bridge])
	}
	for _, o := range others {
		if o.Group == n.Group {
			return fmt.Sprintf("its group %d is network %s's", n.Group, o.Name)
		}
		for _, r := range n.Ranges {
			if i := slices.IndexFunc(o.Ranges, func(p netip.Prefix) bool { return p.Overlaps(r) }); i >= 0 {
				return fmt.Sprintf("its range %s overlaps with %s of network %s", r, o.Ranges[i], o.Name)
			}
		}
	}
	return ""
}
