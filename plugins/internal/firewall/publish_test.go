package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// mechanism is one way to carry policy out on this machine.
type mechanism struct {
	name    string
	variant string // of iptables
	backend BackendName
}

func mechanisms() []mechanism {
	return []mechanism{
		{"iptables-nft", "nft", IPTables},
		{"iptables-legacy", "legacy", IPTables},
		{"nftables", "", NFTables},
	}
}

// overMechanisms runs a test for each mechanism, all at the same time: most of
// their time is spent waiting for answers that must not come.
func overMechanisms(t *testing.T, test func(t *testing.T, b Backend)) {
	t.Helper()
	t.Parallel()
	for _, m := range mechanisms() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			test(t, m.open(t))
		})
	}
}

func (m mechanism) open(t testing.TB, options ...Option) Backend {
	t.Helper()
	b, err := Open(m.backend, slog.New(slog.DiscardHandler), options...)
	if err != nil {
		t.Fatal(err)
	}
	if own, ok := b.(*iptables); ok {
		own.programs = variantPrograms(t, m.variant)
	}
	return b
}

// apply calls Apply in the host's namespace.
func (w *world) apply(t testing.TB, b Backend, r Rules) {
	t.Helper()
	w.prepare(t, r)
	w.host.do(t, func() { check(t, b.Apply(context.Background(), r)) })
	w.host.do(t, func() { check(t, b.Check(context.Background(), r)) })
}

func (w *world) remove(t testing.TB, b Backend, r Rules, inUse InUse) {
	t.Helper()
	w.host.do(t, func() { check(t, b.Remove(context.Background(), r, inUse)) })
}

func unused() (bool, error) { return false, nil }

// hostAddresses are the host's own, by family.
func hostAddresses() map[family][]string {
	return map[family][]string{
		ipv4: {"192.0.2.1", "192.0.2.10", "10.88.0.1", "10.89.0.1"},
		ipv6: {"2001:db8::1", "2001:db8::10", "fd00:88::1", "fd00:89::1"},
	}
}

func at(host string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port)).String()
}

// A port published on all addresses answers from everywhere, by every address
// of the host. Where bridged packets pass the host's rules (br_netfilter), two
// things need more than rules: a container reaches itself only if its bridge
// port is in hairpin mode, and ::1 is out of reach (see LocalRoutes).
func TestPublishedPortIsReachable(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		for _, bridged := range []string{"0", "1"} {
			t.Run("bridge-nf-call="+bridged, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, b)
				w.host.sysctl(t, "net/bridge/bridge-nf-call-iptables", bridged)
				w.host.sysctl(t, "net/bridge/bridge-nf-call-ip6tables", bridged)
				if bridged == "1" {
					w.host.sh(t, "bridge link set dev vweb hairpin on")
				}
				testReachable(t, b, w, bridged == "1")
			})
		}
	})
}

func testReachable(t *testing.T, b Backend, w *world, bridged bool) {
	w.apply(t, b, Rules{Attachment: wire.Attachment{Network: "net2", Container: "other", IfName: "eth0"}, Network: network(2)})
	w.apply(t, b, publishing("web", 2, 8080, 80))
	w.web.serve(t, 80)
	for f, addresses := range hostAddresses() {
		for _, protocol := range transports() {
			if local := f.loopback().Addr().String(); f == ipv4 || !bridged {
				w.host.reaches(t, protocol, at(local, 8080), "web")
			}
			for _, address := range addresses {
				for _, from := range []*space{w.host, w.web, w.peer, w.other} {
					from.reaches(t, protocol, at(address, 8080), "web")
				}
			}
			for _, address := range addresses[:2] {
				w.outside.reaches(t, protocol, at(address, 8080), "web")
			}
		}
	}
}

// The client's address is kept where it can be.
func TestPublishedPortSeesTheClient(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.apply(t, b, publishing("web", 2, 8080, 80))
		w.web.serve(t, 80)
		for _, protocol := range transports() {
			for to, want := range map[string]string{"192.0.2.1": "192.0.2.2", "2001:db8::1": "2001:db8::2"} {
				if got := w.outside.reaches(t, protocol, at(to, 8080), "web"); got != want {
					t.Errorf("%s from outside by %s: container sees %s, want %s", protocol, to, got, want)
				}
			}
		}
	})
}

// Removed ports do not answer, at once, UDP conversations included; and
// nothing is left.
func TestRemoveLeavesNothing(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		before := w.rules(t)
		r := publishing("web", 2, 8080, 80)
		other := publishing("peer", 3, 8081, 80)
		w.apply(t, b, r)
		w.apply(t, b, other)
		w.web.serve(t, 80)
		w.peer.serve(t, 80)
		w.outside.reaches(t, wire.UDP, "192.0.2.1:8080", "web")
		w.remove(t, b, r, nil)
		var closed []question
		for _, protocol := range transports() {
			for f, addresses := range hostAddresses() {
				closed = append(closed, question{w.outside, protocol, at(addresses[0], 8080)},
					question{w.host, protocol, at(f.loopback().Addr().String(), 8080)})
				w.outside.reaches(t, protocol, at(addresses[0], 8081), "peer")
			}
		}
		silent(t, closed...)
		w.remove(t, b, r, nil) // a second time is no error
		w.remove(t, b, other, unused)
		if after := w.rules(t); after != before {
			t.Errorf("rules left:\n%s", after)
		}
	})
}

// rules are all rules of the host, of every mechanism. The empty tables that
// iptables leaves behind by having been used are nobody's rules.
func (w *world) rules(t testing.TB) string {
	t.Helper()
	return w.host.sh(t, `
for t in iptables ip6tables; do for v in nft legacy; do
	echo "== $t-$v"
	$t-$v-save 2>/dev/null | grep -E '^-A|^:.* - ' || true
done; done
echo == nft
for t in $(nft list tables | sed 's/table //; s/ /:/g' | grep -v -E '^ip6?:(nat|filter)$'); do
	nft -s list table $(echo $t | tr : ' ')
done`)
}

func TestRangeIsOneRule(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		r := publishing("web", 2, 8000, 80)
		for i := range r.Publish {
			r.Publish[i].Count = 11
		}
		w.apply(t, b, r)
		w.web.serve(t, 80)
		w.web.serve(t, 90)
		var closed []question
		for _, protocol := range transports() {
			for _, host := range []string{"192.0.2.1", "2001:db8::1"} {
				w.outside.reaches(t, protocol, at(host, 8000), "web")
				w.outside.reaches(t, protocol, at(host, 8010), "web")
				closed = append(closed, question{w.outside, protocol, at(host, 8001)}, question{w.outside, protocol, at(host, 8011)})
			}
		}
		silent(t, closed...)
	})
}

// Only what is addressed to the host is led to a container: the same port of
// other machines stays theirs, for what the host forwards and for what it sends
// itself (CVE-2025-67499).
func TestOnlyTheHostsOwnAddresses(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.apply(t, b, publishing("web", 2, 8080, 80))
		w.web.serve(t, 80)
		w.outside.serve(t, 8080)
		for _, protocol := range transports() {
			for _, to := range outsideOf() {
				for _, from := range []*space{w.host, w.peer, w.other} {
					from.reaches(t, protocol, at(to, 8080), "outside")
				}
			}
		}
	})
}

// A mapping on a host address answers there only; one on 127.0.0.1 not to a
// neighbour who sends packets for 127.0.0.1 to the host's link (moby#45610),
// nor to a container that does.
func TestHostAddressConfines(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.host.sysctl(t, "net/bridge/bridge-nf-call-ip6tables", "0")
		w.web.serve(t, 80)
		w.apply(t, b, onAddress("web", 8080, "192.0.2.10", "2001:db8::10"))
		w.apply(t, b, onAddress("web2", 8081, "127.0.0.1", "::1"))
		var closed []question
		for _, protocol := range transports() {
			for i, address := range []string{"192.0.2.10", "2001:db8::10"} {
				other := []string{"192.0.2.1", "2001:db8::1"}[i]
				local := []string{"127.0.0.1", "::1"}[i]
				w.outside.reaches(t, protocol, at(address, 8080), "web")
				w.host.reaches(t, protocol, at(local, 8081), "web")
				closed = append(closed, question{w.outside, protocol, at(other, 8080)},
					question{w.host, protocol, at(local, 8080)}, question{w.outside, protocol, at(other, 8081)})
			}
		}
		silent(t, closed...)
		for gateway, s := range map[string]*space{"192.0.2.1": w.outside, "10.88.0.1": w.peer} {
			s.sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
			s.sh(t, "ip addr del 127.0.0.1/8 dev lo; ip route del local 127.0.0.0/8 table local 2>/dev/null || true; ip route add 127.0.0.1 via "+gateway+" dev eth0")
			for _, protocol := range transports() {
				s.reachesNot(t, protocol, "127.0.0.1:8081")
			}
		}
	})
}

func onAddress(name string, port uint16, hosts ...string) Rules {
	r := publishing(name, 2, port, 80)
	for i := range r.Publish {
		for _, host := range hosts {
			if a := netip.MustParseAddr(host); a.Is4() == r.Publish[i].Container.Is4() {
				r.Publish[i].HostIP = a
			}
		}
	}
	return r
}

// Localhost routing lets nobody but the host itself talk to the host's
// localhost (plugins#729).
func TestLocalhostIsGuarded(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.apply(t, b, publishing("web", 2, 8080, 80))
		w.host.serve(t, 631)
		w.host.reaches(t, wire.TCP, "127.0.0.1:631", "host")
		w.peer.sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
		w.peer.sh(t, "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via 10.88.0.1 dev eth0")
		for _, protocol := range transports() {
			w.peer.reachesNot(t, protocol, "127.0.0.1:631")
		}
	})
}

// Where our resolver has a port of its own, because another server has port 53
// of the host, questions are led there: those of members, on a host that drops
// what is not allowed, and those of the host itself.
func TestResolverElsewhere(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.host.sh(t, `nft 'add table inet strict; add chain inet strict in { type filter hook input priority 0; policy drop; }
			add rule inet strict in iif lo accept; add rule inet strict in meta l4proto ipv6-icmp accept'`)
		before := w.rules(t)
		w.host.serve(t, 10053)
		w.web.serve(t, 53)
		r := publishing("web", 2, 53, 53)
		for i, server := range r.Network.DNS {
			r.Network.DNS[i] = netip.AddrPortFrom(server.Addr(), 10053)
		}
		w.apply(t, b, r)
		w.apply(t, b, r) // an apply of what is there
		for _, protocol := range transports() {
			for _, gateway := range []string{"10.88.0.1", "fd00:88::1"} {
				w.peer.reaches(t, protocol, at(gateway, 53), "host")
				w.host.reaches(t, protocol, at(gateway, 53), "host")
			}
		}
		w.host.do(t, func() {
			check(t, b.Check(context.Background(), r))
			check(t, b.Remove(context.Background(), r, unused))
		})
		if after := w.rules(t); after != before {
			t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// A container that publishes port 53 gets the outside's questions; the
// network's own go to our resolver.
func TestResolverKeepsItsPort(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.host.serve(t, 53)
		w.web.serve(t, 53)
		w.apply(t, b, publishing("web", 2, 53, 53))
		for _, protocol := range transports() {
			for f, gateway := range map[family]string{ipv4: "10.88.0.1", ipv6: "fd00:88::1"} {
				w.outside.reaches(t, protocol, at(hostAddresses()[f][0], 53), "web")
				w.peer.reaches(t, protocol, at(gateway, 53), "host")
			}
		}
	})
}

// A packet passes few rules for any of a thousand published ports.
func TestLastPortPassesFewRules(t *testing.T) {
	holds := map[chain]map[string]bool{} // what a chain has rules for
	paths := map[int][]chain{}
	for port := 8000; port < 9000; port++ {
		paths[port] = treePath(wire.TCP, portSpan{uint16(port), uint16(port)})
		for i, c := range paths[port] {
			below := fmt.Sprint(port)
			if i+1 < len(paths[port]) {
				below = paths[port][i+1].name
			}
			if holds[c] == nil {
				holds[c] = map[string]bool{}
			}
			holds[c][below] = true
		}
	}
	for port, path := range paths {
		passed := 0
		for _, c := range path {
			passed += len(holds[c])
		}
		if passed > 40 {
			t.Errorf("a packet passes up to %d rules for port %d of 1,000, want some tens", passed, port)
		}
	}
}

// Every mapping sits in the smallest chain that holds all its ports, under
// chains that each hold their child's.
func TestTreePath(t *testing.T) {
	tests := []struct {
		ports portSpan
		want  []string
	}{
		{portSpan{8080, 8080}, []string{"TCP", "TCP-4096-8191", "TCP-7936-8191", "TCP-8080-8095"}},
		{portSpan{8080, 8095}, []string{"TCP", "TCP-4096-8191", "TCP-7936-8191", "TCP-8080-8095"}},
		{portSpan{8080, 8096}, []string{"TCP", "TCP-4096-8191", "TCP-7936-8191"}},
		{portSpan{8000, 9000}, []string{"TCP"}},
		{portSpan{1, 65535}, []string{"TCP"}},
		{portSpan{65535, 65535}, []string{"TCP", "TCP-61440-65535", "TCP-65280-65535", "TCP-65520-65535"}},
	}
	for _, test := range tests {
		var got []string
		for _, c := range treePath(wire.TCP, test.ports) {
			got = append(got, c.name)
			if len(iptablesChain(c)) > 28 {
				t.Errorf("%s is longer than iptables takes", iptablesChain(c))
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.ports, got, test.want)
		}
	}
}

func FuzzTreePath(f *testing.F) {
	f.Add(uint16(8080), uint16(0))
	f.Fuzz(func(t *testing.T, first, count uint16) {
		ports := portSpan{first, uint16(min(65535, int(first)+int(count)))}
		path := treePath(wire.UDP, ports)
		outer := portSpan{0, 65535}
		for _, c := range path[1:] {
			p, inner, ok := treeSpan(c)
			if !ok || p != wire.UDP || inner.first > ports.first || inner.last < ports.last ||
				inner.first < outer.first || inner.last > outer.last {
				t.Fatalf("%v: %s does not fit", ports, c.name)
			}
			outer = inner
		}
	})
}
