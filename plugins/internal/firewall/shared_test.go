package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A chained firewall plugin isolates what the bridge plugin before it lets
// through, in whatever order their rules were made.
func TestChainedIsolation(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		part := func(name string, n int) Rules {
			r := plainly(name, network(n))
			r.Network.Network += "+firewall"
			r.Network.Masquerade, r.Network.DNS, r.Network.Isolate = false, nil, true
			r.Attachment.Part = "firewall"
			return r
		}
		w.apply(t, b, plainly("web", network(1)))
		w.apply(t, b, part("web", 1))
		w.apply(t, b, plainly("other", network(2)))
		w.apply(t, b, part("other", 2))
		for _, to := range []string{"10.88.0.2", "fd00:88::2"} {
			w.peer.reaches(t, wire.TCP, at(to, 80), "web")
			w.other.reachesNot(t, wire.TCP, at(to, 80))
		}
	})
}

// An internal network has no way out by other networks' published ports
// either.
func TestInternalReachesNoPublishedPort(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		inner := plainly("other", network(2))
		inner.Network.Internal = true
		w.apply(t, b, publishing("web", 2, 8080, 80))
		w.apply(t, b, inner)
		for _, to := range []string{"10.88.0.1", "fd00:88::1", "192.0.2.1"} {
			w.other.reachesNot(t, wire.TCP, at(to, 8080))
		}
	})
}

// A network with members on other hosts (an overlay's, whose trunk leads to
// them) reaches those in both directions, whatever else it is shut off from;
// they see one another by their own addresses.
func TestTrunk(t *testing.T) {
	tests := map[string]func(*wire.NetworkPolicy){
		"internal": func(p *wire.NetworkPolicy) { p.Internal, p.Forward, p.Masquerade = true, false, false },
		"isolated": func(p *wire.NetworkPolicy) { p.Isolate = true },
		"both":     func(p *wire.NetworkPolicy) { p.Internal, p.Isolate = true, true },
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		for name, change := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testTrunk(t, b, change)
			})
		}
	})
}

// testTrunk has the outside be another host's member, the other network one
// that is shut off in the same way, and the host forward nothing by itself.
func testTrunk(t *testing.T, b Backend, change func(*wire.NetworkPolicy)) {
	w := newWorld(t, b)
	w.host.sh(t, "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP")
	w.outside.serve(t, 80)
	w.web.serve(t, 80)
	w.other.serve(t, 80)
	for _, r := range []Rules{plainly("web", network(1)), plainly("other", network(2))} {
		change(&r.Network)
		if r.Network.Network == "net1" {
			r.Network.Trunk = "eth1"
			r.Network.NoMasquerade = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
		}
		w.prepare(t, r)
		w.apply(t, b, r)
	}
	web, other := []string{"10.88.0.2", "fd00:88::2"}, []string{"10.89.0.2", "fd00:89::2"}
	var closed []question
	for i, member := range outsideOf() {
		for _, protocol := range transports() {
			if seen := w.web.reaches(t, protocol, at(member, 80), "outside"); seen != web[i] {
				t.Errorf("%s: %s sees %s, want %s", protocol, member, seen, web[i])
			}
			if seen := w.outside.reaches(t, protocol, at(web[i], 80), "web"); seen != member {
				t.Errorf("%s: %s sees %s, want %s", protocol, web[i], seen, member)
			}
			closed = append(closed, question{w.web, protocol, at(other[i], 80)}, question{w.other, protocol, at(web[i], 80)})
		}
	}
	silent(t, closed...)
}

// The trunk is let pass as long as one of the networks that share it is there,
// whichever of them came first.
func TestATrunkServesNetworksToTheLast(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.outside.serve(t, 80)
		var both []Rules
		for i, name := range []string{"web", "other"} {
			r := plainly(name, network(i+1))
			r.Network.Internal, r.Network.Forward, r.Network.Masquerade, r.Network.Trunk = true, false, false, "eth1"
			w.prepare(t, r)
			w.apply(t, b, r)
			both = append(both, r)
		}
		w.remove(t, b, both[0], unused)
		for _, member := range outsideOf() {
			if seen := w.other.reaches(t, wire.TCP, at(member, 80), "outside"); !slices.Contains([]string{"10.89.0.2", "fd00:89::2"}, seen) {
				t.Errorf("%s sees %s, want other's own address", member, seen)
			}
		}
		w.remove(t, b, both[1], unused)
		if left := w.rules(t); strings.Contains(left, "eth1") {
			t.Errorf("left:\n%s", left)
		}
	})
}

// Two networks on one bridge each have their own policy, whichever came first;
// and a member of the internal one does not get out by taking another address.
func TestNetworksShareABridge(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		for _, first := range []string{"open", "internal"} {
			t.Run(first+" first", func(t *testing.T) {
				t.Parallel()
				testSharedBridge(t, b, first == "open")
			})
		}
	})
}

func testSharedBridge(t *testing.T, b Backend, openFirst bool) {
	w := newWorld(t, b)
	inner := newSpace(t, "inner")
	w.join(t, inner, 1, 9)
	w.host.sh(t, "ip addr add 10.90.0.1/24 dev br1; ip addr add fd00:90::1/64 dev br1 nodad; ip route add 10.91.0.0/24 dev br1; ip -6 route add fd00:91::/64 dev br1")
	w.outside.sh(t, "ip route add 10.90.0.0/15 via 192.0.2.1")
	inner.sh(t, `ip addr flush dev eth0
ip addr add 10.90.0.2/24 dev eth0; ip addr add fd00:90::2/64 dev eth0 nodad
ip addr add 10.91.0.2/32 dev eth0; ip addr add fd00:91::2/128 dev eth0 nodad
ip route replace default via 10.90.0.1; ip -6 route replace default via fd00:90::1`)
	w.outside.serve(t, 7)
	w.web.serve(t, 80)
	inner.serve(t, 80)
	open, shut := publishing("web", 2, 8080, 80), plainly("inner", network(1))
	shut.Attachment.Network, shut.Network.Network = "net9", "net9"
	shut.Network.Subnets = []netip.Prefix{netip.MustParsePrefix("10.90.0.0/24"), netip.MustParsePrefix("fd00:90::/64")}
	shut.Network.DNS, shut.Network.Internal = nil, true
	both := []Rules{open, shut}
	if !openFirst {
		both[0], both[1] = shut, open
	}
	for _, r := range both {
		w.apply(t, b, r)
	}
	for i, outside := range outsideOf() {
		w.web.reaches(t, wire.TCP, at(outside, 7), "outside")
		w.outside.reaches(t, wire.TCP, at(hostAddresses()[families()[i]][0], 8080), "web")
		w.host.reaches(t, wire.TCP, at([]string{"10.90.0.2", "fd00:90::2"}[i], 80), "inner")
		silent(t, question{inner, wire.TCP, at(outside, 7)}, question{w.outside, wire.TCP, at([]string{"10.90.0.2", "fd00:90::2"}[i], 80)})
	}
	inner.sh(t, "ip route replace default via 10.90.0.1 src 10.91.0.2; ip -6 route replace default via fd00:90::1 src fd00:91::2")
	for _, outside := range outsideOf() {
		inner.reachesNot(t, wire.TCP, at(outside, 7))
	}
}
