package plugins

import (
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// DefaultRoute is one of the ways out that a container with several networks has:
// interface, gateway, and its rank among those of its family.
type DefaultRoute struct {
	IfName  string
	Gateway netip.Addr
	Rank    int
}

// RankDefaults has the route of rank 0 lead out of the namespace at netns, and the
// next when those before it are gone. Attachments know nothing of each other, so
// whoever makes several says which comes first.
func RankDefaults(netns string, routes []DefaultRoute) error {
	var list []wire.DefaultRoute
	for _, r := range routes {
		list = append(list, wire.DefaultRoute{Link: r.IfName, Via: r.Gateway, Rank: r.Rank})
	}
	return attach.RankDefaults(netns, list)
}
