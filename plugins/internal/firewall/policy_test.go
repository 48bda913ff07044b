package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// plainly gives rules for a container of one of the world's networks that
// publishes nothing.
func plainly(name string, policy wire.NetworkPolicy) Rules {
	return Rules{Attachment: wire.Attachment{Network: policy.Network, Container: name, IfName: "eth0"}, Network: policy}
}

// outsideOf are the addresses of the machine outside.
func outsideOf() []string { return []string{"192.0.2.2", "2001:db8::2"} }

// A network's containers are seen outside by the host's address, or by the one
// that was chosen, or by their own where that was asked for; by one another
// always by their own.
func TestMasquerade(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	tests := []struct {
		name   string
		change func(*wire.NetworkPolicy)
		sees   []string // IPv4 and IPv6; "host" is what the host itself is seen by
	}{
		{"the link's address", func(*wire.NetworkPolicy) {}, []string{"host", "host"}},
		{"a chosen address", func(p *wire.NetworkPolicy) {
			p.MasqueradeAs = []netip.Addr{addr("192.0.2.10"), addr("2001:db8::1")}
		}, []string{"192.0.2.10", "2001:db8::1"}},
		{"IPv4 only", func(p *wire.NetworkPolicy) {
			p.NoMasquerade = []netip.Prefix{prefix("::/0")}
		}, []string{"host", "fd00:88::2"}},
		{"not to some", func(p *wire.NetworkPolicy) {
			p.NoMasquerade = []netip.Prefix{prefix("192.0.2.0/25"), prefix("2001:db8:1::/64")}
		}, []string{"10.88.0.2", "host"}},
		{"none", func(p *wire.NetworkPolicy) { p.Masquerade = false }, []string{"10.88.0.2", "fd00:88::2"}},
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.outside.serve(t, 7)
		w.peer.serve(t, 7)
		for _, test := range tests {
			policy := network(1)
			test.change(&policy)
			w.apply(t, b, plainly("web", policy))
			for i, to := range outsideOf() {
				for _, protocol := range transports() {
					want := test.sees[i]
					if want == "host" {
						want = w.host.reaches(t, protocol, at(to, 7), "outside")
					}
					if got := w.web.reaches(t, protocol, at(to, 7), "outside"); got != want {
						t.Errorf("%s: %s: %s sees %s, want %s", test.name, protocol, to, got, want)
					}
				}
			}
			for i, to := range []string{"10.88.0.3", "fd00:88::3"} {
				if got, want := w.web.reaches(t, wire.TCP, at(to, 7), "peer"), []string{"10.88.0.2", "fd00:88::2"}[i]; got != want {
					t.Errorf("%s: a member sees %s, want %s", test.name, got, want)
				}
			}
		}
	})
}

// Isolated networks do not reach one another but by published ports; both have
// the outside.
func TestIsolate(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		w.outside.serve(t, 7)
		one, two := publishing("web", 2, 8080, 80), plainly("other", network(2))
		w.apply(t, b, one)
		w.apply(t, b, two)
		for _, protocol := range transports() {
			for _, to := range []string{"10.88.0.2", "fd00:88::2"} {
				w.other.reaches(t, protocol, at(to, 80), "web")
			}
		}
		one.Network.Isolate, two.Network.Isolate = true, true
		w.remove(t, b, one, nil)
		w.apply(t, b, one)
		w.apply(t, b, two)
		var closed []question
		for _, protocol := range transports() {
			for f, to := range map[family]string{ipv4: "10.88.0.2", ipv6: "fd00:88::2"} {
				closed = append(closed, question{w.other, protocol, at(to, 80)})
				w.peer.reaches(t, protocol, at(to, 80), "web")
				w.host.reaches(t, protocol, at(to, 80), "web")
				w.other.reaches(t, protocol, at(hostAddresses()[f][0], 8080), "web")
			}
			for _, to := range outsideOf() {
				w.other.reaches(t, protocol, at(to, 7), "outside")
				w.web.reaches(t, protocol, at(to, 7), "outside")
			}
		}
		silent(t, closed...)
		// An isolated network stays open to one that is not.
		two.Network.Isolate = false
		w.apply(t, b, two)
		w.other.reaches(t, wire.TCP, "10.88.0.2:80", "web")
	})
}

// An internal network has its members and its resolver, nothing else.
func TestInternal(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.outside.serve(t, 7)
		w.other.serve(t, 7)
		w.web.serve(t, 80)
		w.host.serve(t, 53)
		r := publishing("web", 2, 8080, 80)
		r.Network.Internal = true
		w.apply(t, b, plainly("other", network(2)))
		w.apply(t, b, r)
		var closed []question
		for _, protocol := range transports() {
			for i, outside := range outsideOf() {
				f := families()[i]
				closed = append(closed, question{w.web, protocol, at(outside, 7)},
					question{w.web, protocol, at([]string{"10.89.0.2", "fd00:89::2"}[i], 7)},
					question{w.outside, protocol, at(hostAddresses()[f][0], 8080)},
					question{w.outside, protocol, at([]string{"10.88.0.2", "fd00:88::2"}[i], 80)})
				w.peer.reaches(t, protocol, at([]string{"10.88.0.2", "fd00:88::2"}[i], 80), "web")
				w.web.reaches(t, protocol, at([]string{"10.88.0.1", "fd00:88::1"}[i], 53), "host")
			}
		}
		silent(t, closed...)
	})
}

// Published ports can be confined to sources and to links; the host itself and
// the network's members are never kept out (plugins#618).
func TestPublishFrom(t *testing.T) {
	prefix := netip.MustParsePrefix
	tests := []struct {
		name           string
		from           []netip.Prefix
		on             []string
		outside, other bool
	}{
		{"anywhere", nil, nil, true, true},
		{"the outside's prefix", []netip.Prefix{prefix("192.0.2.0/24"), prefix("2001:db8::/64")}, nil, true, false},
		{"the outside's link", nil, []string{"eth1"}, true, false},
		{"another prefix", []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8:1::/64")}, nil, false, false},
		{"the other network", []netip.Prefix{prefix("10.89.0.0/24"), prefix("fd00:89::/64")}, nil, false, true},
		{"either", []netip.Prefix{prefix("10.89.0.0/24"), prefix("fd00:89::/64")}, []string{"eth1"}, true, true},
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		w.apply(t, b, plainly("other", network(2)))
		for _, test := range tests {
			r := publishing("web", 2, 8080, 80)
			r.Network.PublishFrom, r.Network.PublishOn = test.from, test.on
			w.apply(t, b, r)
			var closed []question
			for _, protocol := range transports() {
				for _, addresses := range hostAddresses() {
					to := at(addresses[0], 8080)
					for s, open := range map[*space]bool{w.outside: test.outside, w.other: test.other} {
						if open {
							s.reaches(t, protocol, to, "web")
						} else {
							closed = append(closed, question{s, protocol, to})
						}
					}
					w.host.reaches(t, protocol, to, "web")
					w.peer.reaches(t, protocol, to, "web")
				}
			}
			silent(t, closed...)
			if t.Failed() {
				t.Fatalf("published to %s", test.name)
			}
		}
	})
}

// The administrator's own rules come before ours, and stay when ours go.
func TestAdministratorComesFirst(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		r := publishing("web", 2, 8080, 80)
		w.apply(t, b, r)
		var shut []question
		add, list := "", "iptables -S NETCTL-ADMIN; ip6tables -S NETCTL-ADMIN"
		if b.Name() == NFTables {
			list = "nft list chain ip netctl admin; nft list chain ip6 netctl admin"
		}
		for i, client := range outsideOf() {
			to := at(hostAddresses()[families()[i]][0], 8080)
			for _, protocol := range transports() {
				w.outside.reaches(t, protocol, to, "web")
				shut = append(shut, question{w.outside, protocol, to})
				rule := fmt.Sprintf("%s -A NETCTL-ADMIN -s %s -p %s --dport 80 -j DROP\n", families()[i].tool(), client, protocol)
				if b.Name() == NFTables {
					ip := []string{"ip", "ip6"}[i]
					rule = fmt.Sprintf("nft add rule %s netctl admin %s saddr %s %s dport 80 drop\n", ip, ip, client, protocol)
				}
				add += rule
			}
		}
		w.host.sh(t, add)
		silent(t, shut...)
		w.peer.reaches(t, wire.TCP, "192.0.2.1:8080", "web")
		w.remove(t, b, r, unused)
		if rules := w.host.sh(t, list); strings.Count(strings.ToLower(rules), "drop") != len(shut) {
			t.Errorf("the administrator's rules are gone:\n%s", rules)
		}
		w.apply(t, b, r)
		silent(t, shut...)
	})
}

// A policy that changes replaces the network's rules and leaves other
// networks' alone.
func TestPolicyIsReplaced(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		one, two := plainly("web", network(1)), plainly("other", network(2))
		w.apply(t, b, one)
		w.apply(t, b, two)
		before := sorted(w.rules(t))
		changed := one
		changed.Network.Internal = true
		w.apply(t, b, changed)
		w.host.do(t, func() {
			if err := b.Check(context.Background(), one); err == nil {
				t.Error("rules of the old policy are still complete")
			}
		})
		w.apply(t, b, one)
		if after := sorted(w.rules(t)); after != before {
			t.Errorf("changed to and fro, rules are\n%s\nand were\n%s", after, before)
		}
	})
}
