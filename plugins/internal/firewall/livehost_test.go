package firewall

import (
	"context"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Hosts that have a firewall already: containers still reach the outside, are
// reached by their published ports, and reach their resolver; what is not
// published stays shut.
func TestLiveHost(t *testing.T) {
	docker := `
for t in iptables ip6tables; do
	$t -P FORWARD DROP
	$t -N DOCKER-USER; $t -A DOCKER-USER -j RETURN; $t -A FORWARD -j DOCKER-USER
	$t -t nat -N DOCKER; $t -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
	$t -t nat -A DOCKER -i docker0 -j RETURN
done`
	ufw := `
for t in iptables ip6tables; do
	$t -P INPUT DROP; $t -P FORWARD DROP
	for c in INPUT FORWARD; do
		$t -N ufw-before-$c; $t -A $c -j ufw-before-$c
		$t -A ufw-before-$c -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		$t -A ufw-before-$c -m conntrack --ctstate INVALID -j DROP
		$t -N ufw-reject-$c; $t -A $c -j ufw-reject-$c
	done
	$t -A INPUT -i lo -j ACCEPT
done
ip6tables -A INPUT -p icmpv6 -j ACCEPT`
	rejecting := `
for t in iptables ip6tables; do
	$t -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$t -A INPUT -i lo -j ACCEPT
done
ip6tables -A INPUT -p icmpv6 -j ACCEPT
for t in iptables ip6tables; do
	$t -A INPUT -j REJECT
	$t -A FORWARD -j REJECT
done`
	kubernetes := `
for t in iptables ip6tables; do
	$t -t nat -N KUBE-SERVICES; $t -t nat -N KUBE-POSTROUTING; $t -N KUBE-FORWARD; $t -N KUBE-FIREWALL
	$t -t nat -A PREROUTING -j KUBE-SERVICES
	$t -t nat -A OUTPUT -j KUBE-SERVICES
	$t -t nat -A POSTROUTING -j KUBE-POSTROUTING
	$t -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
	$t -t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
	$t -t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully
	$t -A FORWARD -j KUBE-FORWARD
	$t -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
	$t -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
	$t -A INPUT -j KUBE-FIREWALL
	$t -P FORWARD DROP
done
iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`
	firewalld := `nft -f - <<'NFT'
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		meta l4proto ipv6-icmp accept
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname "lo" accept
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
}
NFT`
	plain := `nft -f - <<'NFT'
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif lo accept
		meta l4proto ipv6-icmp accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
table ip guard {
	chain forward { type filter hook forward priority filter + 5; policy drop; }
}
NFT`
	overMechanisms(t, func(t *testing.T, b Backend) {
		for name, script := range map[string]string{"docker": docker, "ufw": ufw, "rejecting": rejecting,
			"kubernetes": kubernetes, "firewalld": firewalld, "nftables.conf": plain} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testLiveHost(t, b, script)
			})
		}
	})
}

func testLiveHost(t *testing.T, b Backend, script string) {
	w := newWorld(t, b)
	w.host.sh(t, script)
	if b.Name() == NFTables && w.host.sh(t, "iptables-legacy-save; ip6tables-legacy-save") != "" {
		t.Fatal("the nftables backend cannot open chains of iptables-legacy")
	}
	closed := !strings.Contains(script, "DOCKER") && !strings.Contains(script, "KUBE")
	before := w.rules(t)
	w.outside.serve(t, 7)
	w.web.serve(t, 80)
	w.host.serve(t, 53)
	r := publishing("web", 2, 8080, 80)
	w.apply(t, b, plainly("other", network(2)))
	w.apply(t, b, r)
	test := func() {
		t.Helper()
		var shut []question
		for _, protocol := range transports() {
			for i, outside := range outsideOf() {
				host := hostAddresses()[families()[i]]
				w.web.reaches(t, protocol, at(outside, 7), "outside")
				w.web.reaches(t, protocol, at([]string{"10.88.0.1", "fd00:88::1"}[i], 53), "host")
				w.outside.reaches(t, protocol, at(host[0], 8080), "web")
				w.host.reaches(t, protocol, at(host[0], 8080), "web")
				w.other.reaches(t, protocol, at(host[0], 8080), "web")
				if closed {
					shut = append(shut, question{w.outside, protocol, at(host[0], 53)})
				}
				// What is not published is nobody's business but the host's.
				shut = append(shut, question{w.outside, protocol, at([]string{"10.88.0.2", "fd00:88::2"}[i], 80)})
			}
		}
		silent(t, shut...)
		w.host.reaches(t, wire.TCP, "127.0.0.1:8080", "web")
	}
	test()
	w.host.do(t, func() {
		check(t, b.RemoveNetwork(context.Background(), "net2", unused))
		check(t, b.Remove(context.Background(), r, unused))
	})
	if after := w.rules(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	w.host.do(t, func() { check(t, b.Restore(context.Background(), []Rules{r, plainly("other", network(2))})) })
	test()
}
