package firewall

import (
	"fmt"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Translatable tells whether a mechanism can carry the conditions of published
// ports out.
func Translatable(name BackendName, all []wire.Publish) error {
	for _, p := range all {
		if name == NFTables && p.MarkChain != "" {
			return fmt.Errorf("published port %d is to be marked by %s, which is a chain of iptables: want the iptables backend", p.HostPort, p.MarkChain)
		}
		if name == NFTables && p.Only.IPTables != "" {
			return fmt.Errorf("condition %q of published port %d is in iptables' words and has no translation for nftables: want the iptables backend, or conditions on source, destination and incoming interface", p.Only.IPTables, p.HostPort)
		}
	}
	return nil
}

// conditional tells whether a mapping is a rule of its own in nftables, because
// the maps know no conditions.
func conditional(p wire.Publish) bool { return !p.Only.IsZero() }

// conditionalRules are such a mapping's, one for each port, as nftables can't
// calculate one port from another.
func conditionalRules(a wire.Attachment, p wire.Publish) []rule {
	var all []rule
	for i := range max(p.Count, 1) {
		one := p
		one.HostPort, one.ContainerPort, one.Count = p.HostPort+i, p.ContainerPort+i, 1
		r := mappingRule(a, one)
		r.comment = mappingComment(a, p)
		all = append(all, r)
	}
	return all
}

// simple tells whether all that the attachment has of its own are elements of
// sets and maps.
func (r Rules) simple() bool { return !slices.ContainsFunc(r.Publish, conditional) }
