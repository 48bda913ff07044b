package firewall

import (
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// withAdmin puts jumps to the administrator's chain where his own rules are:
// ahead of what any network decides about the bridge's packets, because another
// plugin of the same list may have a say about them, too.
func withAdmin(network []placed, p wire.NetworkPolicy) []placed {
	if p.AdminChain == "" || p.Bridge == "" || len(network) == 0 {
		return network
	}
	first := rule{do: to(foreignTarget(p.AdminChain)), comment: policyComment(p)}
	entering, leaving := first, first
	entering.out, leaving.in = device{name: p.Bridge}, device{name: p.Bridge}
	return slices.Concat(network, chainAdmin.holds(entering, leaving))
}

// foreignTarget is a chain of somebody else's as a target: its name is written
// as it is.
func foreignTarget(name string) chain { return chain{filter, name, true} }

// missingTargets are chains of others that wanted rules lead to and that are
// not there. (One that is there must not be declared: that would empty it.)
func missingTargets(want []placed, now *saved, table string) []string {
	var names []string
	for _, p := range want {
		to := p.do.chain
		if p.do.action == jump && to.hook && to.table == table && !now.others[to] && !slices.Contains(names, to.name) {
			names = append(names, to.name)
		}
	}
	return names
}
