package overlay

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store/static"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// TestDirectRoutes: peers on the same link are reached without tunnel.
func TestDirectRoutes(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	w.WritePeers(w.Peers())
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile(), "--direct", "auto")
	}
	for _, h := range w.Hosts {
		h.Ready(1)
		awaitUsable(h, "blue", 2)
	}
	a := w.Hosts[0]
	one, two := a.Add("blue"), w.Hosts[1].Add("blue")
	must(t, w.Switch.Run("nft", "add table bridge seen; add chain bridge seen every { type filter hook forward priority 0; };"+
		"add rule bridge seen every ether type ip udp dport 4789 counter"))
	if _, err := one.Await(two.Addr); err != nil {
		t.Error(err)
	}
	transfer(t, two, one)
	if shown, _ := w.Switch.Output("nft", "list", "chain", "bridge", "seen", "every"); !strings.Contains(shown, "packets 0 ") {
		t.Errorf("through the tunnel: %s", shown)
	}
	shown, err := a.NS.Output("ip", "route", "show", "10.100.2.0/24")
	must(t, err)
	if !strings.Contains(shown, "via 192.0.2.2 dev eth0") {
		t.Errorf("not direct: %s", shown)
	}
}

// TestIPv6: pools of IPv6, over a tunnel of each family.
func TestIPv6(t *testing.T) {
	for name, underlay := range map[string]string{"over IPv4": "192.0.2.", "over IPv6": "2001:db8::"} {
		t.Run(name, func(t *testing.T) {
			w := hosts.New(t, binaries, 2)
			f := static.File{Networks: []static.Network{{Name: "blue", Ranges: []netip.Prefix{netip.MustParsePrefix("fd00:100::/48")}}}}
			for i, h := range w.Hosts {
				digit := string(rune('1' + i))
				must(t, h.NS.Run("ip", "addr", "add", "2001:db8::"+digit+"/64", "dev", "eth0", "nodad"))
				f.Peers = append(f.Peers, static.Peer{Name: h.Name, VTEP: netip.MustParseAddr(underlay + digit),
					Pools: map[string][]netip.Prefix{"blue": {netip.MustParsePrefix("fd00:100:0:0:" + digit + "::/80")}}})
			}
			w.WritePeers(f)
			for i, h := range w.Hosts {
				h.Start("--peers", h.PeersFile(), "--vtep", underlay+string(rune('1'+i)))
			}
			for _, h := range w.Hosts {
				h.Ready(1)
				awaitUsable(h, "blue", 2)
			}
			one, two := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue")
			if !one.Addr.Is6() {
				t.Errorf("the address is %s", one.Addr)
			}
			if _, err := one.Await(two.Addr); err != nil {
				t.Error(err)
			}
			transfer(t, two, one)
		})
	}
}

// Row 22, mixed: two hosts with jumbo frames and one without. Each way has what
// fits through it.
func TestMixedMTU(t *testing.T) {
	w := hosts.New(t, binaries, 3)
	a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
	for _, h := range []*hosts.Host{a, c} {
		must(t, errors.Join(w.Switch.Run("ip", "link", "set", h.Port, "mtu", "9000"), h.NS.Run("ip", "link", "set", "eth0", "mtu", "9000")))
	}
	w.WritePeers(w.Peers())
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(2)
		awaitUsable(h, "blue", 3)
	}
	a.Await("aware of both ways", func(s control.Status) bool {
		mtu := map[string]int{}
		for _, p := range s.Peers {
			mtu[p.Name] = p.MTU
		}
		return s.MTU == 8950 && mtu["b"] == 1450 && mtu["c"] == 8950
	})
	eventually(t, "the route to the small one has its MTU, and the other none", func() bool {
		small, _ := a.NS.Output("ip", "route", "show", "10.100.2.0/24")
		large, _ := a.NS.Output("ip", "route", "show", "10.100.3.0/24")
		return strings.Contains(small, "mtu 1450") && large != "" && !strings.Contains(large, "mtu")
	})
	one, two, three := a.Add("blue"), b.Add("blue"), c.Add("blue")
	must(t, errors.Join(a.RealFrames(), b.RealFrames(), c.RealFrames()))
	for _, to := range []*hosts.Container{two, three} {
		if _, err := one.Await(to.Addr); err != nil {
			t.Error(err)
		}
		transfer(t, one, to)
	}
}
