package firewall

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// unlinkLast is Remove of the host's only attachment, with its network and all that
// networks share, where iptables-nft has made the rules: if the kernel says that
// there are exactly the chains which that attachment needs, with exactly its rules in
// them. It tells whether it has been done; otherwise nothing has.
//
// To write these rules takes the program, to delete them does not: the kernel does it
// by number, all in one transaction, which it refuses if anybody, the program too, has
// changed anything since they were read.
func (t *iptables) unlinkLast(r Rules) (done bool) {
	if !r.known() {
		return false
	}
	s, err := dialNFT()
	if err != nil {
		return false
	}
	defer func() { t.park.letGoOf(s.fd) }()
	generation, err := s.generation()
	if err != nil {
		return false
	}
	var changes []nftMessage
	for _, f := range r.families() {
		some, ok := s.deletionsOfLast(f, unique(wanted(f, r)))
		if !ok {
			return false
		}
		changes = append(changes, some...)
	}
	return len(changes) > 0 && s.transact(changes, generation) == nil
}

// deletionsOfLast deletes what is wanted, if nothing else is in the chains for it.
func (s *nftSocket) deletionsOfLast(f family, want []placed) (changes []nftMessage, ok bool) {
	if there, err := s.ownChains(f); err != nil || !maps.Equal(there, uses(want)) {
		return nil, false
	}
	chains := chainsOf(want)
	for _, c := range chains {
		var numbers []uint64
		if !isOneOwners(c) {
			if numbers, ok = s.rulesOf(f, c, want); !ok {
				return nil, false
			}
		}
		changes = append(changes, deletionsIn(f, c, numbers)...)
	}
	for _, c := range chains {
		if !c.hook {
			changes = append(changes, iptablesMessage(f, unix.NFT_MSG_DELCHAIN, 0,
				text(unix.NFTA_CHAIN_TABLE, c.table), text(unix.NFTA_CHAIN_NAME, iptablesChain(c))))
		}
	}
	return changes, true
}

// deletionsIn deletes rules of a chain by their numbers; all of a chain that has one
// owner.
func deletionsIn(f family, c chain, numbers []uint64) []nftMessage {
	in := []netlink.Attribute{text(unix.NFTA_RULE_TABLE, c.table), text(unix.NFTA_RULE_CHAIN, iptablesChain(c))}
	if isOneOwners(c) {
		return []nftMessage{iptablesMessage(f, unix.NFT_MSG_DELRULE, 0, in...)}
	}
	var all []nftMessage
	for _, n := range numbers {
		number := netlink.Attribute{Type: unix.NFTA_RULE_HANDLE, Data: binary.BigEndian.AppendUint64(nil, n)}
		all = append(all, iptablesMessage(f, unix.NFT_MSG_DELRULE, 0, append(in[:2:2], number)...))
	}
	return all
}

// isOneOwners tells a chain in which nobody else has rules.
func isOneOwners(c chain) bool { return !c.hook && (isNetworks(c) || isReceipt(c)) }

// chainsOf are the chains that rules stand in or lead to.
func chainsOf(rules []placed) []chain {
	var all []chain
	add := func(c chain) {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	for _, p := range rules {
		add(p.chain)
		if p.do.action == jump {
			add(p.do.chain)
		}
	}
	return all
}

// uses counts, as the kernel does, what uses each of our chains: the rules in it and
// the jumps to it.
func uses(rules []placed) map[chain]uint32 {
	all := map[chain]uint32{}
	for _, p := range rules {
		if !p.hook {
			all[p.chain]++
		}
		if p.do.action == jump {
			all[p.do.chain]++
		}
	}
	return all
}

// iptablesMessage is a message about the tables that iptables-nft makes.
func iptablesMessage(f family, kind, flags uint16, attributes ...netlink.Attribute) nftMessage {
	m, _ := aboutTable(f, kind, flags, attributes...) // fails on lengths we never reach
	return m
}

// ownChains are those of ours that iptables-nft has made in a family, with what
// uses them.
func (s *nftSocket) ownChains(f family) (map[chain]uint32, error) {
	answers, err := s.list(iptablesMessage(f, unix.NFT_MSG_GETCHAIN, 0))
	if err != nil {
		return nil, err
	}
	all := map[chain]uint32{}
	for _, m := range answers {
		name, ours := strings.CutPrefix(attributeText(m, unix.NFTA_CHAIN_NAME), chainPrefix)
		if use := attribute(m, unix.NFTA_CHAIN_USE); ours && len(use) == 4 {
			all[chain{attributeText(m, unix.NFTA_CHAIN_TABLE), name, false}] = binary.BigEndian.Uint32(use)
		}
	}
	return all, nil
}

// rulesOf finds the wanted rules of a chain by their comments, which tell all that a
// rule of ours says. Each must be there as often as it is wanted.
func (s *nftSocket) rulesOf(f family, c chain, want []placed) (numbers []uint64, ok bool) {
	missing := map[string]int{}
	for _, p := range want {
		if p.chain == c {
			missing[p.comment]++
		}
	}
	answers, err := s.list(iptablesMessage(f, unix.NFT_MSG_GETRULE, 0,
		text(unix.NFTA_RULE_TABLE, c.table), text(unix.NFTA_RULE_CHAIN, iptablesChain(c))))
	if err != nil {
		return nil, false
	}
	for _, m := range answers {
		comment := iptablesComment(m)
		number := attribute(m, unix.NFTA_RULE_HANDLE)
		if _, wanted := missing[comment]; !wanted || len(number) != 8 {
			continue
		}
		missing[comment]--
		numbers = append(numbers, binary.BigEndian.Uint64(number))
	}
	for _, n := range missing {
		ok = ok || n != 0
	}
	return numbers, !ok
}

// iptablesComment is the comment of a rule of iptables-nft: a match of xtables, in
// whose data it fills the first bytes up to a zero (struct xt_comment_info), or what
// nftables has for it.
func iptablesComment(rule netlink.Message) string {
	if comment, ok := userdata.GetString(attribute(rule, unix.NFTA_RULE_USERDATA), userdata.TypeComment); ok {
		return comment
	}
	d, err := netlink.NewAttributeDecoder(attribute(rule, unix.NFTA_RULE_EXPRESSIONS))
	if err != nil {
		return ""
	}
	for d.Next() {
		// An expression looks like an object of its own behind four bytes.
		e := netlink.Message{Data: append(make([]byte, 4), d.Bytes()...)}
		if attributeText(e, unix.NFTA_EXPR_NAME) != "match" {
			continue
		}
		match := func(kind uint16) string {
			value, _, _ := strings.Cut(string(attribute(e, unix.NFTA_EXPR_DATA, kind)), "\x00")
			return value
		}
		if match(unix.NFTA_MATCH_NAME) == "comment" {
			return match(unix.NFTA_MATCH_INFO)
		}
	}
	return ""
}
