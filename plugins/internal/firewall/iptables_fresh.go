package firewall

import (
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fresh replaces the fast input of the families in which nothing of ours is
// yet by one that makes all, and tells whether there is any: the host's first
// ADD is one process a family then, as any other. Should our chains be there
// after all, the input fails as a whole, like the fast one.
func (t *iptables) fresh(fast restores, r Rules) bool {
	if len(fast) == 0 {
		return false
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return false
	}
	defer t.park.letGo(conn, conn.Close)
	first := false
	for f := range fast {
		if !hasNothing(conn, f) {
			continue
		}
		input := rewrite(f, parseSaved(""), wanted(f, r), func(string) bool { return false })
		fast[f] = newChain.Replace(input)
		first = true
	}
	return first
}

// newChain makes "-N", which fails where the chain exists, of iptables-save's
// ":CHAIN - [0:0]", which empties it.
var newChain = strings.NewReplacer("\n:", "\n-N ", " - [0:0]\n:", "\n-N ", " - [0:0]\n", "\n")

// hasNothing tells for sure that iptables, of either kind, has no chains of
// ours in a family: iptables-nft's can be looked up, iptables-legacy's tables
// must not be there at all.
func hasNothing(conn *netlink.Conn, f family) bool {
	file := map[family]string{ipv4: "ip_tables_names", ipv6: "ip6_tables_names"}[f]
	if names, err := os.ReadFile("/proc/thread-self/net/" + file); err == nil && len(names) > 0 {
		return false
	}
	for _, c := range []chain{chainForward, chainPublish} {
		found, err := nftReader{conn: conn, table: f.table()}.get(unix.NFT_MSG_GETCHAIN, 0,
			text(unix.NFTA_CHAIN_TABLE, c.table), text(unix.NFTA_CHAIN_NAME, iptablesChain(c)))
		if err != nil || len(found) > 0 {
			return false
		}
	}
	return true
}
