package firewall

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fastLast is Remove of the host's only attachment, with its network and all that
// networks share: for the families in which the kernel says that there are exactly
// the chains which that attachment needs, with as many rules. It takes away rule by
// rule, and chains only when they are empty, so if another rule is in one of them
// the input fails as a whole, like the other fast ones.
func (t *iptables) fastLast(r Rules) restores {
	all := restores{}
	if !r.known() {
		return all
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return all
	}
	defer t.park.letGo(conn, conn.Close)
	for _, f := range r.families() {
		want := unique(wanted(f, r))
		if there, err := ownChains(conn, f); err == nil && maps.Equal(there, uses(want)) {
			all[f] = fastLastFamily(want)
		}
	}
	return all
}

// fastLastFamily has nat before filter, for the reason that rewrite gives.
func fastLastFamily(want []placed) string {
	tables := []script{{table: nat}, {table: filter}}
	for i := range tables {
		s := &tables[i]
		for _, p := range want {
			if p.table == s.table && !isOneOwners(p.chain) {
				s.add("-D", p)
			}
		}
		chains := chainsOf(want)
		for _, c := range chains {
			if c.table == s.table && isOneOwners(c) {
				s.command("-F", c)
			}
		}
		for _, c := range chains {
			if c.table == s.table {
				s.command("-X", c)
			}
		}
	}
	return join(tables...)
}

// isOneOwners tells a chain in which nobody else has rules.
func isOneOwners(c chain) bool { return isNetworks(c) || isReceipt(c) }

// chainsOf are our chains that rules stand in or lead to.
func chainsOf(rules []placed) []chain {
	var all []chain
	add := func(c chain) {
		if !c.hook && !slices.Contains(all, c) {
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

// uses counts, as the kernel does, what uses each of the chains: the rules in it and
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

// ownChains are those of ours that iptables-nft has made in a family, with what
// uses them.
func ownChains(conn *netlink.Conn, f family) (map[chain]uint32, error) {
	answers, err := nftReader{conn: conn, table: f.table()}.get(unix.NFT_MSG_GETCHAIN, netlink.Dump)
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
