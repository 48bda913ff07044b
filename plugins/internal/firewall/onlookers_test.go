package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

func passers() Passers {
	return Passers{Links: []string{"nb-blue", "netctl-overlay"}, Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16"), netip.MustParsePrefix("fd00:1::/64")}}
}

// oneChain is a table with a chain, for nft. What the chain is comes first.
func oneChain(family, table, chain, what string, rules ...string) string {
	return fmt.Sprintf("table %s %s {\nchain %s {\n%s\n%s\n}\n}\n", family, table, chain, what, strings.Join(rules, "\n"))
}

func inForward(rules ...string) string {
	return oneChain("inet", "mine", "forward", "type filter hook forward priority 0", rules...)
}

// TestOnlookers: whose rules would see the packets of an overlay, as their
// programs write them.
func TestOnlookers(t *testing.T) {
	const iptablesNFT = "iptables-nft -w -t "
	for name, c := range map[string]struct {
		rules, shell string
		want         string // "" for nobody
	}{
		"nothing":                 {"", "", ""},
		"a chain without rules":   {inForward(""), "", ""},
		"a rule for all":          {inForward("counter"), "", "chain forward of table inet mine has a rule that may be about its packets"},
		"a policy":                {inForward("policy drop;"), "", "drops what no rule accepts"},
		"a range of ours":         {inForward("ip saddr 10.100.3.0/24 drop"), "", "chain forward"},
		"around our ranges":       {inForward("ip daddr 10.0.0.0/8 drop"), "", "chain forward"},
		"another range":           {inForward("ip saddr 172.17.0.0/16 drop", "ip daddr 10.99.0.0/17 drop", "ip daddr 192.0.2.7 drop"), "", ""},
		"around them, no octet's": {inForward("ip daddr 10.96.0.0/13 drop"), "", "chain forward"},
		"IPv6 alone": {oneChain("ip6", "mine", "forward", "type filter hook forward priority 0", "ip6 saddr fd00:2::/64 drop") +
			oneChain("ip6", "mine", "f", "type filter hook forward priority 0", "ip6 saddr fd00:1::/80 drop"), "", "chain f of table ip6 mine"},
		"behind our translation":  {"", iptablesNFT + `nat -A PREROUTING -m comment --comment "netctl layout=1" -j ACCEPT; ` + iptablesNFT + "nat -A PREROUTING -j ACCEPT", "chain PREROUTING of table ip nat"},
		"not another range":       {inForward("ip saddr != 172.17.0.0/16 drop"), "", "chain forward"},
		"a range of ours, IPv6":   {inForward("ip6 saddr fd00:1::/80 drop"), "", "chain forward"},
		"another range, IPv6":     {inForward("ip6 daddr fd00:2::/64 drop"), "", ""},
		"a set":                   {inForward("ip saddr { 172.17.0.1, 172.17.0.2 } drop"), "", "chain forward"},
		"hops":                    {inForward("ip ttl 5 drop"), "", "chain forward"},
		"hops, IPv4 alone":        {oneChain("ip", "mine", "forward", "type filter hook forward priority 0", "ip ttl 5 drop"), "", "chain forward of table ip mine"},
		"our bridge":              {inForward("iifname nb-blue drop"), "", "chain forward"},
		"names like our bridge's": {inForward(`iifname "nb-*" drop`), "", "chain forward"},
		"another link":            {inForward("iifname docker0 drop", `oifname "virbr*" drop`, "iif lo drop"), "", ""},
		"a name that begins so":   {inForward(`iifname "nb-blue2" drop`), "", ""},
		"our bridge's number":     {inForward(`iif "nb-blue" drop`), "", "chain forward"},
		"before and after":        {oneChain("ip", "mine", "a", "type filter hook prerouting priority -300", "ip saddr 10.100.1.2 drop"), "", "chain a of table ip mine"},
		"after":                   {oneChain("ip6", "mine", "z", "type filter hook postrouting priority 0", "counter"), "", "chain z of table ip6 mine"},
		"hooks for others":        {oneChain("inet", "mine", "i", "type filter hook input priority 0", "counter") + oneChain("inet", "mine", "o", "type filter hook output priority 0", "counter") + oneChain("inet", "mine", "by", "", "counter"), "", ""},
		"the host's own address":  {oneChain("ip", "mine", "p", "type nat hook prerouting priority -100", "fib daddr type local dnat to 10.100.1.2"), "", ""},
		"the administrator": {oneChain("ip", "netctl", "admin", "", "ip saddr 172.17.0.1 drop"), "",
			"chain admin of table ip netctl has rules, which the administrator wrote"},
		"his chain without rules":   {oneChain("ip", "netctl", "admin", "", "") + oneChain("ip", "netctl", "forward", "type filter hook forward priority 0", "counter"), "", ""},
		"the fence":                 {oneChain("ip", "netctl-overlay", "forward", "type filter hook forward priority 0", "counter"), "", ""},
		"iptables, administrator":   {"", iptablesNFT + "filter -N NETCTL-ADMIN; " + iptablesNFT + "filter -A NETCTL-ADMIN -s 172.17.0.1 -j DROP", "chain NETCTL-ADMIN of table ip filter has rules"},
		"ip6tables, administrator":  {"", "ip6tables-nft -w -N NETCTL-ADMIN; ip6tables-nft -w -A NETCTL-ADMIN -j DROP", "chain NETCTL-ADMIN of table ip6 filter has rules"},
		"iptables before ours":      {"", iptablesNFT + "filter -A FORWARD -j DROP; " + iptablesNFT + `filter -A FORWARD -m comment --comment "netctl layout=1" -j ACCEPT`, "chain FORWARD of table ip filter"},
		"iptables after ours":       {"", iptablesNFT + "filter -P FORWARD DROP; " + iptablesNFT + `filter -A FORWARD -m comment --comment "netctl layout=1" -j ACCEPT; ` + iptablesNFT + "filter -A FORWARD -j DROP", ""},
		"iptables' policy":          {"", iptablesNFT + "filter -P FORWARD DROP", "chain FORWARD of table ip filter drops what no rule accepts"},
		"Docker's translation":      {"", iptablesNFT + "nat -N DOCKER; " + iptablesNFT + "nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; " + iptablesNFT + "nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", ""},
		"kube-proxy's translation":  {"", iptablesNFT + "nat -N KUBE-SERVICES; " + iptablesNFT + "nat -A PREROUTING -j KUBE-SERVICES", "chain PREROUTING of table ip nat"},
		"iptables-legacy, no rules": {"", "iptables-legacy -w -L >/dev/null", ""},
		"iptables-legacy":           {"", "iptables-legacy -w -A INPUT -j ACCEPT", "table filter of iptables-legacy has rules"},
		"no connections picked up":  {oneChain("ip", "mine", "o", "type filter hook output priority 0", "ct state new accept"), "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0", "nf_conntrack_tcp_loose is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(host *netns.Namespace) {
				for _, err := range []error{host.Run("ip", "link", "set", "lo", "up"), host.Run("ip", "link", "add", "nb-blue", "type", "bridge"),
					host.Run("nft", c.rules), host.Run("sh", "-e", "-c", c.shell)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				if got := new(Onlookers).Find(passers()); c.want == "" && got != "" || !strings.Contains(got, c.want) {
					t.Errorf("found %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestOurRulesAreNoOnlookers: those of an overlay network, by each mechanism, also
// where they are put ahead of a firewall that drops what it does not know.
func TestOurRulesAreNoOnlookers(t *testing.T) {
	for _, mechanism := range []BackendName{IPTables, NFTables} {
		t.Run(string(mechanism), func(t *testing.T) {
			t.Parallel()
			inNamespace(t, func(host *netns.Namespace) {
				if err := host.Run("nft", oneChain("inet", "firm", "forward", "type filter hook forward priority 0; policy drop", "ct state invalid drop", "counter")); err != nil {
					t.Fatal(err)
				}
				b, err := Open(mechanism, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				r := publishing("web", 2, 8080, 80)
				r.Network.Bridge, r.Network.Trunk, r.Network.Forward = "nb-blue", "netctl-overlay", true
				if err := b.Apply(context.Background(), r); err != nil {
					t.Fatal(err)
				}
				p := passers()
				p.Ranges = r.Network.Subnets
				var o Onlookers
				if got := o.Find(p); got != "" {
					t.Errorf("found %q", got)
				}
				admin := map[BackendName][2]string{IPTables: {"-w -A NETCTL-ADMIN -j ACCEPT", "-w -F NETCTL-ADMIN"}, NFTables: {"add rule ip netctl admin accept", "flush chain ip netctl admin"}}[mechanism]
				program := map[BackendName]string{IPTables: "iptables", NFTables: "nft"}[mechanism]
				for i, want := range []string{"which the administrator wrote", ""} {
					if err := host.Run("sh", "-c", program+" "+admin[i]); err != nil {
						t.Fatal(err)
					}
					if got := o.Find(p); want == "" && got != "" || !strings.Contains(got, want) {
						t.Errorf("after %s: found %q, want %q", admin[i], got, want)
					}
				}
			})
		})
	}
}

// TestWatchAll tells of any change of the rules, by either nf_tables or
// iptables-legacy.
func TestWatchAll(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		news, err := WatchAll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []string{"nft add table ip mine", "nft add chain ip mine c", "nft flush ruleset", "iptables-legacy -w -A INPUT -j ACCEPT"} {
			if err := host.Run("sh", "-c", change); err != nil {
				t.Fatal(err)
			}
			select {
			case <-news:
			case <-time.After(40 * time.Second):
				t.Fatalf("nothing is told of %s", change)
			}
			for { // a change may be told of more than once
				select {
				case <-news:
					continue
				case <-time.After(50 * time.Millisecond):
				}
				break
			}
		}
	})
}
