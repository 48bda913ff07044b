package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

var addr, prefix = netip.MustParseAddr, netip.MustParsePrefix

// input is host a with two peers and two networks.
func input() Input {
	return Input{
		View: store.View{
			Schema: store.Schema, Cluster: store.Cluster{ID: "c"},
			Networks: []store.Network{
				{Name: "blue", Group: 7, Ranges: []netip.Prefix{prefix("10.100.0.0/16")}},
				{Name: "red", Group: 8, Ranges: []netip.Prefix{prefix("10.101.0.0/16")}},
			},
			Nodes: []store.Node{
				{ID: "a", Name: "a", VTEP: []netip.Addr{addr("192.0.2.1")}, Pools: pools("10.100.1.0/24")},
				{ID: "b", Name: "b", VTEP: []netip.Addr{addr("192.0.2.2")}, MTU: 1450, Pools: pools("10.100.2.0/24")},
				{ID: "c", Name: "c", VTEP: []netip.Addr{addr("192.0.2.3")}, MTU: 1350, Pools: pools("10.100.3.0/24", "10.100.4.0/24")},
			},
		},
		Self: "a", Local: addr("192.0.2.1"), Owned: []store.Claim{{Network: "blue", Pool: prefix("10.100.1.0/24"), Owner: "a"}},
		DeviceMTU: 1500, To: func(netip.Addr) int { return 1500 },
	}
}

func pools(all ...string) map[string][]netip.Prefix {
	m := map[string][]netip.Prefix{}
	for _, text := range all {
		m["blue"] = append(m["blue"], prefix(text))
	}
	return m
}

func lines(p Plan) string { return strings.Join(append(p.Tunnel.Lines(), p.Mesh.Lines()...), "\n") }

func TestThePlanAsCommands(t *testing.T) {
	want := strings.TrimSpace(`
ip link add netctl-overlay address 02:56:c0:00:02:01 mtu 1450 type vxlan id 1 dstport 4789 local 192.0.2.1 nolearning gbp noudpcsum
ip addr add 10.100.1.0/32 dev netctl-overlay
ip link set netctl-overlay up
bridge fdb replace 02:56:c0:00:02:02 dev netctl-overlay dst 192.0.2.2 self permanent
ip neigh replace fe80::56:c0ff:fe00:202 lladdr 02:56:c0:00:02:02 dev netctl-overlay nud permanent
bridge fdb replace 02:56:c0:00:02:03 dev netctl-overlay dst 192.0.2.3 self permanent
ip neigh replace fe80::56:c0ff:fe00:203 lladdr 02:56:c0:00:02:03 dev netctl-overlay nud permanent
ip route replace unreachable 10.100.0.0/16 metric 4294967295 proto 86
ip route replace unreachable 10.101.0.0/16 metric 4294967295 proto 86
ip route replace 10.100.2.0/24 via inet6 fe80::56:c0ff:fe00:202 dev netctl-overlay onlink metric 3 proto 86 src 10.100.1.0
ip route replace 10.100.3.0/24 via inet6 fe80::56:c0ff:fe00:203 dev netctl-overlay onlink metric 4 proto 86 src 10.100.1.0 mtu 1350
ip route replace 10.100.4.0/24 via inet6 fe80::56:c0ff:fe00:203 dev netctl-overlay onlink metric 5 proto 86 src 10.100.1.0 mtu 1350`)
	if got := lines(Make(input())); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWhatChangesThePlan(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		want   string // in the commands, or in what the test prints of the rest
	}{
		"a probe found less":  {func(in *Input) { in.Probed = map[netip.Addr]int{addr("192.0.2.2"): 1354} }, "10.100.2.0/24 via inet6 fe80::56:c0ff:fe00:202 dev netctl-overlay onlink metric 3 proto 86 src 10.100.1.0 mtu 1354"},
		"a peer on the link":  {func(in *Input) { in.Direct, in.OnLink = "eth0", func(netip.Addr) bool { return true } }, "ip route replace 10.100.2.0/24 via 192.0.2.2 metric 3 proto 86 src 10.100.1.0"},
		"all ways are narrow": {func(in *Input) { in.To = func(netip.Addr) int { return 1400 } }, "mtu 1350 type vxlan"},
		"one way is narrow": {func(in *Input) {
			in.To = func(a netip.Addr) int { return map[bool]int{true: 1400, false: 1500}[a == addr("192.0.2.2")] }
		}, "fe80::56:c0ff:fe00:202 dev netctl-overlay onlink metric 3 proto 86 src 10.100.1.0 mtu 1350"},
		"cluster port and VNI":     {func(in *Input) { in.View.Cluster.Port, in.View.Cluster.VNI = 8472, 77 }, "id 77 dstport 8472"},
		"a pool of mine claimed":   {func(in *Input) { in.View.Nodes[1].Pools = pools("10.100.1.0/24") }, "conflict: node b claims 10.100.1.0/24"},
		"a larger pool over mine":  {func(in *Input) { in.View.Nodes[1].Pools = pools("10.100.0.0/22") }, "conflict: node b claims 10.100.0.0/22"},
		"a pool outside":           {func(in *Input) { in.View.Nodes[1].Pools = pools("10.99.1.0/24") }, "conflict: node b claims 10.99.1.0/24"},
		"one tunnel address twice": {func(in *Input) { in.View.Nodes[2].VTEP = in.View.Nodes[1].VTEP }, "conflict: node c has the tunnel address 192.0.2.2"},
		"a peer without v4":        {func(in *Input) { in.View.Nodes[2].VTEP = []netip.Addr{addr("2001:db8::3")} }, "conflict: node c has no tunnel address"},
		"a lost pool":              {func(in *Input) { in.Lost, in.Owned = in.Owned, nil }, "own [] host [] handed {10.100.1.0/24 true}"},
		"closed networks":          {func(in *Input) {}, "blue admits [7]"},
		"open networks":            {func(in *Input) { in.View.Networks[0].Open, in.View.Networks[1].Open = true, true }, "blue admits [7 8]"},
		"degraded":                 {func(in *Input) { in.Degraded = "store down" }, "degraded store down"},
		"a range of another's":     {func(in *Input) { in.View.Networks[1].Ranges = []netip.Prefix{prefix("10.100.0.0/20")} }, "conflict: network red is left out: its range 10.100.0.0/20 overlaps with 10.100.0.0/16 of network blue"},
		"a range around another's": {func(in *Input) { in.View.Networks[1].Ranges = []netip.Prefix{prefix("0.0.0.0/0")} }, "conflict: network red is left out"},
		"a range around this host": {func(in *Input) {
			in.View.Networks[1].Ranges = []netip.Prefix{prefix("10.101.0.0/16"), prefix("192.0.0.0/16")}
		}, "conflict: network red is left out: its range 192.0.0.0/16 has this host's own tunnel address 192.0.2.1 in it"},
		"a group twice": {func(in *Input) { in.View.Networks[1].Group = 7 }, "conflict: network red is left out: its group 7 is network blue's"},
		"no group":      {func(in *Input) { in.View.Networks[1].Group = 0 }, "conflict: network red is left out: it has no group"},
		"a bridge twice": {func(in *Input) {
			in.View.Networks[0].Definition, in.View.Networks[1].Definition = onBridge("br0"), onBridge("br0")
		},
			"conflict: network red is left out: its bridge br0 is network blue's"},
		"the tunnel as a bridge": {func(in *Input) { in.View.Networks[1].Definition = onBridge("netctl-overlay") }, `conflict: network red is left out: its definition names the bridge "netctl-overlay"`},
		"a path as a bridge":     {func(in *Input) { in.View.Networks[1].Definition = onBridge("../all") }, `conflict: network red is left out: its definition names the bridge "../all"`},
		"the older one stays": {func(in *Input) {
			in.Owned, in.View.Networks[0].Created, in.View.Networks[0].Group = nil, time.Unix(9, 0), 8
		}, "conflict: network blue is left out: its group 8 is network red's"},
		"the one with pools stays": {func(in *Input) { in.View.Networks[0].Created, in.View.Networks[1].Group = time.Unix(9, 0), 7 }, "conflict: network red is left out"},
		"a leaving network":        {func(in *Input) { in.View.Networks[0].Leaving = true }, "handed nothing"},
	} {
		in := input()
		c.change(&in)
		p := Make(in)
		got := lines(p) + "\n" + describe(p)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: no %q in\n%s", name, c.want, got)
		}
	}
}

func onBridge(name string) []byte { return fmt.Appendf(nil, `{"plugins":[{"bridge":%q}]}`, name) }

// What contradicts is in none of the parts that all networks share.
func TestAContradictionIsLeftOutWhole(t *testing.T) {
	in := input()
	want := Make(in)
	in.View.Networks = append(in.View.Networks, store.Network{Name: "zzz", Group: 9, Ranges: []netip.Prefix{prefix("10.0.0.0/8")}, Open: true})
	in.View.Nodes[1].Pools["zzz"] = []netip.Prefix{prefix("10.7.0.0/24")}
	in.Owned = append(in.Owned, store.Claim{Network: "other", Pool: prefix("10.9.0.0/24"), Owner: "a"})
	got := Make(in)
	if len(got.Conflicts) != 1 {
		t.Errorf("conflicts %q", got.Conflicts)
	}
	if want.Conflicts, got.Conflicts = nil, nil; !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func describe(p Plan) string {
	var b strings.Builder
	for _, c := range p.Conflicts {
		fmt.Fprintln(&b, "conflict: "+c)
	}
	for _, n := range p.Fence.Networks {
		if n.Group == 7 {
			fmt.Fprintf(&b, "blue admits %v\nown %v host %v ", n.Admits, p.Fence.Own, n.Host)
		}
	}
	if len(p.Networks) == 0 {
		fmt.Fprint(&b, "handed nothing")
	}
	for _, n := range p.Networks {
		for _, pool := range n.Pools {
			fmt.Fprintf(&b, "handed %v ", pool)
		}
		fmt.Fprintf(&b, "degraded %s", n.Degraded)
	}
	return b.String()
}

// TestOverlapsAreFound compares the set with the plain way, on prefixes of
// several lengths.
func TestOverlapsAreFound(t *testing.T) {
	all := []netip.Prefix{prefix("10.0.0.0/24"), prefix("10.0.1.0/24"), prefix("10.0.0.0/16"), prefix("10.0.2.128/25"),
		prefix("10.2.0.0/15"), prefix("fd00::/80"), prefix("fd00::/64"), prefix("0.0.0.0/0")}
	for _, p := range all {
		for _, others := range [][]netip.Prefix{all[:3], all[3:6], {all[1], all[5]}, {all[3]}} {
			set := newPrefixSet()
			for _, o := range others {
				set.add(o)
			}
			want := slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Overlaps(p) })
			if set.overlaps(p) != want {
				t.Errorf("%s among %v: %v, want %v", p, others, !want, want)
			}
		}
	}
}

func BenchmarkMake1000(b *testing.B) {
	in := input()
	in.View.Nodes = in.View.Nodes[:1]
	for i := range 1000 {
		in.View.Nodes = append(in.View.Nodes, store.Node{ID: store.NodeID(fmt.Sprint("n", i)), VTEP: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})},
			Pools: pools(fmt.Sprintf("10.100.%d.%d/30", 4+i>>6, i&63*4))})
	}
	for b.Loop() {
		Make(in)
	}
}
