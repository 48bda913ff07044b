package firewall

import (
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// rule is one packet-filter rule in neither mechanism's words. Zero fields
// match everything.
type rule struct {
	in, out  device
	src, dst address
	// srcLocal and dstLocal match addresses of the host itself.
	dstLocal bool
	proto    wire.Protocol
	ports    portSpan // destination ports, with proto
	state    stateMatch
	// words are more matches in those of iptables; nftables has no rules with
	// any (see Translatable).
	words string
	do    verdict
	// ahead puts the rule before others' in a chain that networks share.
	ahead bool
	// comment names the owner and, for everything that can change, the
	// content: two rules with the same chain, verdict and comment are equal.
	comment string
}

// device matches the interface a packet came in by or leaves by.
type device struct {
	name string
	not  bool
}

// address matches a prefix.
type address struct {
	netip.Prefix
	not bool
}

// stateMatch matches on connection tracking.
type stateMatch struct {
	connState
	not bool
}

type connState uint8

const (
	established connState = 1 << iota
	related
	// translated is the state of a connection whose destination was
	// rewritten (the kernel's IPS_DST_NAT).
	translated
)

// portSpan is a range of ports, both ends included. The zero value means any.
type portSpan struct{ first, last uint16 }

type action uint8

const (
	accept action = iota + 1
	drop
	leave // return to the calling chain
	jump
	masquerade
	snat
	dnat
	reroute // dnat of a network's, to another port
	mark    // jump to a chain of somebody else's, which marks what it is given
	// nftables only: look up where to go by the published port, or by the
	// device that the packet leaves or came by. The map's name is in chain.
	dnatMap
	dispatchOut
	dispatchIn
)

// verdict is what happens to a packet that matches.
type verdict struct {
	action
	chain chain      // jump, mark
	final bool       // jump: the chain's end does not lead back here (goto)
	to    netip.Addr // snat, dnat, reroute
	// ports are where dnat leads to; from is the first matched port, so
	// that the n-th port of a range becomes the n-th of the other.
	ports portSpan
	from  uint16
}

// chain is a place for rules: one of the kernel's (a hook) or one of ours.
type chain struct {
	table string
	name  string
	hook  bool
}

// The two tables, in the order in which they are changed. What an attachment
// owns is in nat alone, so its rules come and go in one commit.
const (
	filter = "filter"
	nat    = "nat"
)

// placed is a rule in its chain.
type placed struct {
	chain
	rule
}

// holds places rules into a chain.
func (c chain) holds(rules ...rule) []placed {
	all := make([]placed, 0, len(rules))
	for _, r := range rules {
		all = append(all, placed{c, r})
	}
	return all
}
