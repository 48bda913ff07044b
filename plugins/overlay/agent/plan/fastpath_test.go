package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// TestTheFastPath: host b's pool can be reached with the tunnel's MTU, host c's
// cannot; 10.100.9.2 is an address of a pool that was lost.
func TestTheFastPath(t *testing.T) {
	plain := func(in *Input) {
		in.View.Networks[0].FastPath = store.FastOn
		in.View.Networks[1].FastPath = store.FastOff
		in.Used = map[string]bool{"blue": true, "red": true}
		in.Plain = map[string][]netip.Addr{"blue": {addr("10.100.1.3"), addr("10.100.1.2"), addr("10.100.9.2")}, "red": {addr("10.101.1.2")}}
	}
	const blue, others = "blue 7 [10.100.1.2 10.100.1.3]", "chain admin has rules"
	for name, c := range map[string]struct {
		change          func(*Input)
		want, hops, why string // why not
	}{
		"wanted": {func(*Input) {}, blue + " [10.100.2.0/24 via 192.0.2.2]", "192.0.2.2", ""},
		"by default": {func(in *Input) { in.View.Networks[0].FastPath = store.FastAuto },
			blue + " [10.100.2.0/24 via 192.0.2.2]", "192.0.2.2", ""},
		"by default, where others look on": {func(in *Input) { in.View.Networks[0].FastPath, in.Onlooker = store.FastAuto, others },
			"[]", "192.0.2.2", others},
		"wanted, where others look on": {func(in *Input) { in.Onlooker = others }, blue + " [10.100.2.0/24 via 192.0.2.2]", "192.0.2.2", ""},
		"no container yet":             {func(in *Input) { in.Used = nil }, "[]", "", ""},
		"not wanted":                   {func(in *Input) { in.View.Networks[0].FastPath = store.FastOff }, "[]", "", "fast_path is false"},
		"a kernel without": {func(in *Input) {
			in.View.Networks[0].FastPath, in.NoFastPath, in.Onlooker = store.FastAuto, "no fwd", others
		},
			"[]", "", "no fwd"},
		"direct routes": {func(in *Input) { in.Direct, in.OnLink = "eth0", func(netip.Addr) bool { return false } },
			"[]", "", "direct routes are on, by which packets come without tunnel"},
		"further plugins": {func(in *Input) {
			in.View.Networks[0].Definition = []byte(`{"plugins":[{"type":"overlay"},{"type":"portmap"}]}`)
		}, "[]", "", "its list has further plugins, which may translate addresses"},
		"one plugin": {func(in *Input) {
			in.View.Networks[0].Definition = []byte(`{"plugins":[{"type":"overlay"}]}`)
		}, blue + " [10.100.2.0/24 via 192.0.2.2]", "192.0.2.2", ""},
		"a way that takes less": {func(in *Input) { in.Probed = map[netip.Addr]int{addr("192.0.2.2"): 1354} }, blue + " []", "", ""},
		"over IPv6": {func(in *Input) {
			in.Local = addr("2001:db8::1")
			in.View.Nodes[1].VTEP = []netip.Addr{addr("2001:db8::2")}
			in.View.Nodes[1].MTU = 0
		}, blue + " []", "", ""},
		"IPv6": {func(in *Input) {
			in.View.Networks[0].Ranges = append(in.View.Networks[0].Ranges, prefix("fd00:1::/64"))
			in.View.Nodes[1].Pools["blue"] = append(in.View.Nodes[1].Pools["blue"], prefix("fd00:1:0:0:2::/80"))
		}, blue + " [10.100.2.0/24 via 192.0.2.2 fd00:1:0:0:2::/80 via fe80::56:c0ff:fe00:202]", "192.0.2.2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := input()
			plain(&in)
			c.change(&in)
			p := Make(in)
			var got, hops []string
			for _, n := range p.Fence.Fast.Networks {
				if n.Bridge != BridgeOf(store.Network{Name: "blue"}) {
					t.Errorf("bridge %s", n.Bridge)
				}
				got = append(got, fmt.Sprint("blue ", n.Group, " ", n.Containers))
			}
			var peers []string
			for _, peer := range p.Fence.Fast.Peers {
				peers = append(peers, fmt.Sprintf("%s via %s", peer.Pool, peer.Via))
			}
			got = append(got, fmt.Sprint(peers))
			for _, peer := range p.Mesh.Peers {
				if peer.NextHop {
					hops = append(hops, peer.VTEP.String())
				}
			}
			if strings.Join(got, " ") != c.want || strings.Join(hops, " ") != c.hops {
				t.Errorf("got %s, next hops %s\nwant %s, next hops %s", strings.Join(got, " "), hops, c.want, c.hops)
			}
			if p.UsualWay["blue"] != c.why || p.UsualWay["red"] != "fast_path is false" {
				t.Errorf("usual way: %q, want %q", p.UsualWay, c.why)
			}
			if withdrawn := fmt.Sprint(p.Withdrawn); (c.why == others) != strings.Contains(withdrawn, "[10.100.1.2 10.100.1.3]") {
				t.Errorf("withdrawn: %s", withdrawn)
			}
			if hop := "ip neigh replace 192.0.2.2 lladdr 02:56:c0:00:02:02 dev netctl-overlay nud permanent"; strings.Contains(lines(p), hop) != (c.hops != "") {
				t.Errorf("%q in\n%s", hop, lines(p))
			}
		})
	}
}
