package kernel_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// tunnelWorld is a host with an underlay, 192.0.2.1/24 on link eth0.
func tunnelWorld(t *testing.T, fn func(h *kernel.Host, host *netns.Namespace)) {
	t.Helper()
	world(t, func(h *kernel.Host, _ *kernel.Container, host, _ *netns.Namespace) {
		must(t, host.Run("ip", "link", "add", "eth0", "type", "bridge"))
		must(t, host.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0"))
		must(t, host.Run("ip", "link", "set", "eth0", "up"))
		fn(h, host)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tunnel() wire.Vxlan {
	local := netip.MustParseAddr("192.0.2.1")
	return wire.Vxlan{Name: "netctl-overlay", VNI: 1, Port: 4789, Local: local, MTU: 1450, MAC: wire.TunnelMAC(local),
		Addresses: []netip.Addr{netip.MustParseAddr("10.100.0.0")}}
}

func meshOf(peers int) wire.Mesh {
	m := wire.Mesh{Device: "netctl-overlay", Routes: []wire.MeshRoute{{To: netip.MustParsePrefix("10.100.0.0/14")}}}
	for i := range peers {
		vtep := netip.AddrFrom4([4]byte{192, 0, 2 + byte((i+10)>>8), byte(i + 10)})
		m.Peers = append(m.Peers, wire.Peer{VTEP: vtep})
		m.Routes = append(m.Routes, wire.MeshRoute{Via: vtep, Source: netip.MustParseAddr("10.100.0.0"),
			To: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100 + byte((i+1)>>8), byte(i + 1), 0}), 24)})
	}
	return m
}

func TestTheTunnelIsMadeOnceAndKept(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		writes, err := h.EnsureVxlan(tunnel())
		must(t, err)
		if writes == 0 {
			t.Error("nothing was written, and there was no tunnel")
		}
		shown, err := host.Output("ip", "-d", "link", "show", "netctl-overlay")
		must(t, err)
		for _, want := range []string{"02:56:c0:00:02:01", "vxlan id 1 local 192.0.2.1 dev eth0", "dstport 4789", "nolearning", "gbp", "noudpcsum", "mtu 1450", ",UP"} {
			if !strings.Contains(shown, want) {
				t.Errorf("no %q in:\n%s", want, shown)
			}
		}
		for name, change := range map[string][]string{
			"nothing":              {"true"},
			"the hardware address": {"ip", "link", "set", "netctl-overlay", "address", "02:00:00:00:00:01"},
			"the MTU":              {"ip", "link", "set", "netctl-overlay", "mtu", "1400"},
			"the state":            {"ip", "link", "set", "netctl-overlay", "down"},
			"the own address":      {"ip", "addr", "flush", "dev", "netctl-overlay", "scope", "global"},
			"a foreign address":    {"ip", "addr", "add", "10.9.9.9/32", "dev", "netctl-overlay"},
			"the device":           {"ip", "link", "del", "netctl-overlay"},
		} {
			must(t, host.Run(change[0], change[1:]...))
			writes, err := h.EnsureVxlan(tunnel())
			must(t, err)
			if (writes == 0) != (name == "nothing") {
				t.Errorf("after a change of %s: %d writes", name, writes)
			}
			if writes, err = h.EnsureVxlan(tunnel()); writes != 0 || err != nil {
				t.Errorf("after a change of %s it took a second pass: %d writes, %v", name, writes, err)
			}
		}
		// The underlay's address moves.
		must(t, host.Run("ip", "addr", "add", "192.0.2.9/24", "dev", "eth0"))
		moved := tunnel()
		moved.Local = netip.MustParseAddr("192.0.2.9")
		_, err = h.EnsureVxlan(moved)
		must(t, err)
		if shown, _ := host.Output("ip", "-d", "link", "show", "netctl-overlay"); !strings.Contains(shown, "local 192.0.2.9") || !strings.Contains(shown, "gbp") {
			t.Errorf("the tunnel did not move:\n%s", shown)
		}
	})
}

func TestAMeshIsMadeRepairedAndLeftAlone(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		_, err := h.EnsureVxlan(tunnel())
		must(t, err)
		want := meshOf(300)
		want.Routes[1].MTU = 1400
		report, err := h.ApplyMesh(want, kernel.MeshOptions{})
		must(t, err)
		if len(report.Set) != 3*300+1 || len(report.Failed) != 0 {
			t.Fatalf("set %d objects, want %d; failed: %v", len(report.Set), 3*300+1, report.Failed)
		}
		quiet := func(after string) {
			t.Helper()
			if again, err := h.ApplyMesh(want, kernel.MeshOptions{}); err != nil || again.Writes() != 0 {
				t.Errorf("after %s there were writes: %+v, %v", after, again, err)
			}
		}
		quiet("the first pass")
		for name, change := range map[string][]string{
			"a route deleted":         {"ip", "route", "del", "10.100.7.0/24"},
			"a route altered":         {"ip", "route", "replace", "10.100.1.0/24", "metric", "2", "via", "192.0.2.77"},
			"a better route added":    {"ip", "route", "add", "10.100.9.0/24", "via", "192.0.2.77"},
			"a route's MTU altered":   {"ip", "route", "change", "10.100.1.0/24", "via", "inet6", "fe80::56:c0ff:fe00:20a", "dev", "netctl-overlay", "onlink", "metric", "2", "proto", "86", "mtu", "1300"},
			"a route added":           {"ip", "route", "add", "10.103.9.0/24", "via", "192.0.2.77", "proto", "86"},
			"a neighbour deleted":     {"ip", "neigh", "del", "fe80::56:c0ff:fe00:20b", "dev", "netctl-overlay"},
			"a neighbour altered":     {"ip", "neigh", "replace", "fe80::56:c0ff:fe00:20b", "lladdr", "02:00:00:00:00:07", "dev", "netctl-overlay", "nud", "permanent"},
			"a neighbour added":       {"ip", "neigh", "add", "fe80::99", "lladdr", "02:00:00:00:00:07", "dev", "netctl-overlay", "nud", "permanent"},
			"an FDB entry deleted":    {"bridge", "fdb", "del", "02:56:c0:00:02:0c", "dev", "netctl-overlay"},
			"an FDB entry altered":    {"bridge", "fdb", "replace", "02:56:c0:00:02:0c", "dev", "netctl-overlay", "dst", "192.0.2.200", "self", "permanent"},
			"an FDB entry added":      {"bridge", "fdb", "add", "02:56:c0:00:09:09", "dev", "netctl-overlay", "dst", "192.0.2.200", "self", "permanent"},
			"the refusing route gone": {"ip", "route", "del", "unreachable", "10.100.0.0/14"},
		} {
			must(t, host.Run(change[0], change[1:]...))
			report, err := h.ApplyMesh(want, kernel.MeshOptions{})
			if err != nil || len(report.Set)+len(report.Removed) == 0 || len(report.Failed) != 0 {
				t.Errorf("%s: %+v, %v", name, report, err)
			}
			quiet(name)
		}
	})
}

func TestUnwantedPeersGoUnlessKept(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		_, err := h.EnsureVxlan(tunnel())
		must(t, err)
		_, err = h.ApplyMesh(meshOf(3), kernel.MeshOptions{})
		must(t, err)
		kept, err := h.ApplyMesh(meshOf(2), kernel.MeshOptions{Keep: true})
		must(t, err)
		if kept.Writes() != 0 {
			t.Errorf("told to keep, it wrote %+v", kept)
		}
		report, err := h.ApplyMesh(meshOf(2), kernel.MeshOptions{})
		must(t, err)
		if len(report.Removed) != 3 {
			t.Errorf("removed %v, want a route, a neighbour and an FDB entry", report.Removed)
		}
		if !slices.IsSortedFunc(report.Removed, func(a, b fmt.Stringer) int { return order(a.String()) - order(b.String()) }) {
			t.Errorf("removed in the order %v: want the route first and the FDB entry last", report.Removed)
		}
		must(t, h.RemoveVxlan("netctl-overlay"))
		must(t, h.RemoveMeshRoutes())
		if left, _ := host.Output("ip", "route", "show", "proto", "86"); left != "" {
			t.Errorf("routes are left: %s", left)
		}
	})
}

// TestALostPoolLeadsToItsOwnerAndComesBack: a bridge has an address of a pool,
// the pool becomes another host's, and this one's again. Packets follow it each
// time, although the bridge keeps its address.
func TestALostPoolLeadsToItsOwnerAndComesBack(t *testing.T) {
	for _, c := range []struct{ pool, gateway, inside, cover string }{
		{"10.100.1.0/24", "10.100.1.1/24", "10.100.1.9", "10.100.0.0/14"},
		{"fd00:1::/64", "fd00:1::1/64", "fd00:1::9", "fd00::/16"},
	} {
		tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
			_, err := h.EnsureVxlan(tunnel())
			must(t, err)
			must(t, host.Run("ip", "link", "add", "nb0", "type", "bridge"))
			must(t, host.Run("ip", "link", "set", "nb0", "up"))
			must(t, host.Run("ip", "addr", "add", c.gateway, "dev", "nb0", "nodad"))
			leads := func(when, device string) {
				t.Helper()
				if shown, err := host.Output("ip", "route", "get", c.inside); err != nil || !strings.Contains(shown, " dev "+device+" ") {
					t.Errorf("%s: %s, %v, want the way through %s", when, shown, err, device)
				}
			}
			refuse := wire.MeshRoute{To: netip.MustParsePrefix(c.cover)}
			own := wire.Mesh{Device: "netctl-overlay", Routes: []wire.MeshRoute{refuse}}
			vtep := netip.MustParseAddr("192.0.2.7")
			others := wire.Mesh{Device: "netctl-overlay", Peers: []wire.Peer{{VTEP: vtep}},
				Routes: []wire.MeshRoute{refuse, {To: netip.MustParsePrefix(c.pool), Via: vtep}}}
			for _, step := range []struct {
				when   string
				mesh   wire.Mesh
				device string
			}{
				{"own", own, "nb0"}, {"lost", others, "netctl-overlay"}, {"own again", own, "nb0"}, {"lost again", others, "netctl-overlay"},
			} {
				report, err := h.ApplyMesh(step.mesh, kernel.MeshOptions{})
				if err != nil || len(report.Failed) > 0 {
					t.Fatalf("%s: %+v, %v", step.when, report, err)
				}
				leads(step.when, step.device)
				if report, err = h.ApplyMesh(step.mesh, kernel.MeshOptions{}); err != nil || report.Writes() > 0 {
					t.Errorf("%s, and nothing changed: %+v, %v", step.when, report, err)
				}
			}
		})
	}
}

// TestRoutesHaveTheirOwnMetric: what an earlier program wrote with metric 0, and
// what yields to somebody else's route, is moved and not doubled, also where
// nothing may be deleted.
func TestRoutesHaveTheirOwnMetric(t *testing.T) {
	const pool, ours = "10.100.2.0/24", "via inet6 fe80::56:c0ff:fe00:20b dev netctl-overlay proto 86 src 10.100.0.0 "
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		_, err := h.EnsureVxlan(tunnel())
		must(t, err)
		for _, to := range []string{"10.100.1.0/24", pool} { // the second one's gateway was another
			must(t, host.Run("ip", "route", "add", to, "via", "inet6", "fe80::56:c0ff:fe00:20a", "dev", "netctl-overlay", "onlink", "proto", "86"))
		}
		for _, step := range []struct {
			when, change string
			keep         bool
			shown        []string // of the pool, in order of preference
		}{
			{"after an earlier program", "ip link show", true, []string{ours + "metric 3 onlink"}},
			{"beside somebody's route", "ip route add 10.100.2.0/24 dev eth0 scope link", true, []string{ours + "onlink", "dev eth0 scope link"}},
			{"without it", "ip route del 10.100.2.0/24 dev eth0", false, []string{ours + "metric 3 onlink"}},
			{"beside one that is as good", "ip route append 10.100.2.0/24 dev eth0 scope link metric 3", false, []string{ours + "metric 3 onlink", "dev eth0 scope link metric 3"}},
			{"beside a worse one, too", "ip route add 10.100.2.0/24 dev eth0 scope link metric 700", false,
				[]string{ours + "metric 3 onlink", "dev eth0 scope link metric 3", "dev eth0 scope link metric 700"}},
		} {
			args := strings.Fields(step.change)
			must(t, host.Run(args[0], args[1:]...))
			report, err := h.ApplyMesh(meshOf(2), kernel.MeshOptions{Keep: step.keep})
			if err != nil || len(report.Failed) > 0 {
				t.Fatalf("%s: %+v, %v", step.when, report, err)
			}
			out, err := host.Output("ip", "route", "show", pool)
			must(t, err)
			var shown []string
			for line := range strings.Lines(out) {
				shown = append(shown, strings.TrimPrefix(strings.Join(strings.Fields(line), " "), pool+" "))
			}
			if !slices.Equal(shown, step.shown) {
				t.Errorf("%s: routes to %s\n%s\nwant\n%s", step.when, pool, strings.Join(shown, "\n"), strings.Join(step.shown, "\n"))
			}
			if report, err = h.ApplyMesh(meshOf(2), kernel.MeshOptions{Keep: step.keep}); err != nil || report.Writes() > 0 {
				t.Errorf("%s, and nothing changed: %+v, %v", step.when, report, err)
			}
		}
	})
}

func order(object string) int {
	return slices.Index([]string{"route", "neighbour", "fdb"}, strings.Fields(object)[0])
}

func TestOneFailureStopsNothingElse(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, _ *netns.Namespace) {
		_, err := h.EnsureVxlan(tunnel())
		must(t, err)
		want := meshOf(5)
		for _, i := range []int{2, 5} { // one among others, and the very last
			want.Routes[i] = wire.MeshRoute{To: want.Routes[i].To, Via: netip.MustParseAddr("198.51.100.1"), Direct: true} // no way there
		}
		report, err := h.ApplyMesh(want, kernel.MeshOptions{})
		must(t, err)
		if len(report.Failed) != 2 || len(report.Set) != 14 {
			t.Fatalf("%d set, failed: %v; want 14 and two", len(report.Set), report.Failed)
		}
		failed := []string{report.Failed[0].Object, report.Failed[1].Object}
		report, err = h.ApplyMesh(want, kernel.MeshOptions{Skip: func(object string) bool { return slices.Contains(failed, object) }})
		must(t, err)
		if report.Skipped != 2 || report.Writes() != 0 {
			t.Errorf("told to skip %q: %+v", failed, report)
		}
	})
}

// Until the guard says that packets may be led to peers, everything but routes is
// made; with its error none is, and nothing is removed.
func TestRoutesWaitForTheGuard(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		_, err := h.EnsureVxlan(tunnel())
		must(t, err)
		lines := func(args ...string) int {
			out, err := host.Output(args[0], args[1:]...)
			must(t, err)
			return strings.Count(out, "\n")
		}
		there := func() string {
			return fmt.Sprint(lines("bridge", "fdb", "show", "dev", "netctl-overlay"), lines("ip", "-6", "neigh", "show", "dev", "netctl-overlay", "nud", "permanent"),
				lines("ip", "route", "show", "proto", "86"))
		}
		apply := func(peers int, answer error) (seen string) {
			t.Helper()
			_, err := h.ApplyMesh(meshOf(peers), kernel.MeshOptions{Guarded: func() error { seen = there(); return answer }})
			if !errors.Is(err, answer) {
				t.Errorf("%d peers: %v, want %v", peers, err, answer)
			}
			return seen
		}
		for _, step := range []struct {
			peers       int
			answer      error
			during, end string
		}{
			{200, errors.New("no fence"), "200 200 0", "200 200 0"},
			{200, nil, "200 200 0", "200 200 201"},
			{150, errors.New("no fence"), "200 200 201", "200 200 201"},
			{150, nil, "200 200 201", "150 150 151"},
			{150, nil, "150 150 151", "150 150 151"}, // asked though there is nothing to do
		} {
			if during := apply(step.peers, step.answer); during != step.during || there() != step.end {
				t.Errorf("%d peers, guard's error %v: FDB entries, neighbours and routes %s when it was asked, want %s; %s at the end, want %s",
					step.peers, step.answer, during, step.during, there(), step.end)
			}
		}
	})
}

func TestTheUnderlaysMTUIsThatOfTheRoute(t *testing.T) {
	tunnelWorld(t, func(h *kernel.Host, host *netns.Namespace) {
		must(t, host.Run("ip", "link", "set", "eth0", "mtu", "1400"))
		must(t, host.Run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.254", "mtu", "1300"))
		device, to, err := h.UnderlayMTU(netip.MustParseAddr("192.0.2.1"))
		must(t, err)
		got := fmt.Sprint(device, to(netip.MustParseAddr("192.0.2.7")), to(netip.MustParseAddr("198.51.100.7")))
		if got != "1400 1400 1300" {
			t.Errorf("device, on-link peer, peer behind a limited route: %s, want 1400 1400 1300", got)
		}
	})
}
