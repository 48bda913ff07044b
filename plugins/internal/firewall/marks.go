package firewall

import (
	"net/netip"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// markRules send connections to a published port, which somebody else is to
// masquerade, through that one's chain of iptables before they are translated
// (portmap's externalSetMarkChain): those from the container's own subnet and
// from localhost, or all of them. The chain must be there.
func markRules(f family, a wire.Attachment, p wire.Publish) []rule {
	if p.MarkChain == "" {
		return nil
	}
	sources := []netip.Prefix{p.Subnet.Masked()}
	if f == ipv4 {
		sources = append(sources, netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32))
	}
	if p.HideClients {
		sources = []netip.Prefix{f.any()}
	}
	var all []rule
	for _, source := range sources {
		r := mappingRule(a, p)
		r.do = verdict{action: mark, chain: chain{nat, p.MarkChain, true}}
		r.comment = fit(r.comment+" mark="+source.String(), commentLimit)
		r.ahead = true
		if narrow(&r, source) {
			all = append(all, r)
		}
	}
	return all
}

// narrow adds a source to a rule that may have one already, and tells whether
// any packet is left.
func narrow(r *rule, source netip.Prefix) bool {
	switch {
	case !r.src.IsValid():
		r.src = within(source)
	case r.src.not: // iptables has -s only once in a rule
		r.words = strings.TrimSpace("-m iprange --src-range " + source.Addr().String() + "-" + lastOf(source).String() + " " + r.words)
	case !r.src.Overlaps(source):
		return false
	case r.src.Bits() < source.Bits():
		r.src = within(source)
	}
	return true
}
