package firewall

import (
	"log/slog"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// inForeign runs f with other programs' chains of a host.
func inForeign(t *testing.T, script string, f func(host *space, o foreigners)) {
	t.Helper()
	host := newSpace(t, "host")
	host.sh(t, script)
	host.do(t, func() {
		reader, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		check(t, err)
		defer reader.Close()
		writer, err := nft.New()
		check(t, err)
		f(host, foreigners{reader: reader, writer: writer, log: slog.New(slog.DiscardHandler), by: NFTables})
	})
}

// A chain is closed by its policy, or by a last rule that drops or rejects all
// that has come so far; one that drops something is not.
func TestClosedChains(t *testing.T) {
	t.Parallel()
	closed := map[string]bool{}
	script := "nft -f - <<'NFT'\n"
	for name, c := range map[string]struct {
		policy, rules string
		closed        bool
	}{
		"open":         {"accept", "", false},
		"policy":       {"drop", "", true},
		"drop":         {"accept", "drop", true},
		"counted":      {"accept", "counter drop", true},
		"logged":       {"accept", `log prefix "x" drop`, true},
		"rejected":     {"accept", "reject", true},
		"accepted":     {"accept", "accept", false},
		"conditional":  {"accept", "ip saddr 198.51.100.1 drop", false},
		"one-rejected": {"accept", "tcp dport 25 reject", false},
		"not-the-last": {"accept", "ip saddr 198.51.100.1 drop\n tcp dport 25 accept", false},
	} {
		closed["inet t c-"+name] = c.closed
		script += "table inet t {\nchain c-" + name + " {\ntype filter hook forward priority 5; policy " + c.policy + ";\n" + c.rules + "\n}\n}\n"
	}
	script += "NFT\niptables-nft -A FORWARD -m comment --comment 'the end' -j REJECT\niptables-nft -A INPUT -s 198.51.100.1 -j REJECT\nip6tables-nft -A FORWARD -j DROP\nip6tables-nft -A INPUT -j ACCEPT"
	for name, is := range map[string]bool{"ip filter FORWARD": true, "ip filter INPUT": false, "ip6 filter FORWARD": true, "ip6 filter INPUT": false} {
		closed[name] = is
	}
	inForeign(t, script, func(_ *space, o foreigners) {
		chains, err := o.chains()
		check(t, err)
		if len(chains) != len(closed) {
			t.Errorf("read %d chains, want %d", len(chains), len(closed))
		}
		for _, c := range chains {
			if want, known := closed[c.String()]; !known || c.closed != want {
				t.Errorf("%s: closed is %v, want %v", c, c.closed, want)
			}
		}
	})
}

// The openings of a network go with it, and no others.
func TestOpeningsOfOneNetwork(t *testing.T) {
	t.Parallel()
	inForeign(t, "nft 'table inet t { chain closed { type filter hook forward priority 5; policy drop; }; }'", func(host *space, o foreigners) {
		one, two := network(1), network(2)
		o.open(one, two)
		openings := func(p wire.NetworkPolicy) int { return strings.Count(host.sh(t, "nft list ruleset"), o.comment(p)) }
		if n, m := openings(one), openings(two); n == 0 || n != m {
			t.Fatalf("the networks have %d and %d openings", n, m)
		}
		before := openings(two)
		o.close(func(comment string) bool { return ofNetworkOrBelow(comment, one.Network) })
		if n, m := openings(one), openings(two); n != 0 || m != before {
			t.Errorf("when one is gone they have %d and %d openings, want 0 and %d", n, m, before)
		}
	})
}
