package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/overlay/agent/store/static"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/netns"
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

// Row 24 without tunnel: what a peer sends for its containers arrives; nothing
// else does, from whomever on the link, and a container is heard by the others
// only with its own source. That a stranger may forge a source of a peer's pool is
// the price of direct routes (docs/overlay.md).
func TestDirectRoutesAreGuarded(t *testing.T) {
	w := hosts.New(t, binaries, 3)
	f := w.Peers()
	f.Networks = append(f.Networks, static.Network{Name: "red", Ranges: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/20")}})
	for i := range f.Peers {
		f.Peers[i].Pools["red"] = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 101, byte(i + 1), 0}), 24)}
	}
	w.WritePeers(f)
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile(), "--direct", "auto")
	}
	for _, h := range w.Hosts {
		h.Ready(2)
		awaitUsable(h, "blue", 3)
		awaitUsable(h, "red", 3)
	}
	a, b := w.Hosts[0], w.Hosts[1]
	target, far := a.Add("blue"), b.Add("blue")
	if _, err := far.Await(target.Addr); err != nil {
		t.Fatal(err)
	}
	red := a.Add("red")
	ear, redEar := listen(t, target), listen(t, red)
	send := func(from *netns.Namespace, source string, to *hosts.Container, text string) {
		t.Helper()
		must(t, from.Do(func() error { return sendRaw(datagram(netip.MustParseAddr(source), to.Addr, 9, []byte(text))) }))
	}
	stranger := w.Switch
	must(t, stranger.Run("ip", "route", "add", "10.100.1.0/24", "via", a.Addr.String()))
	ear.mustHear(t, "of a peer", func() { send(far.NS, far.Addr.String(), target, "of a peer") })
	// That these packets would arrive, if they were not dropped, is known by this:
	// they come the same way.
	ear.mustHear(t, "forged", func() { send(stranger, "10.100.2.9", target, "forged") })
	for _, c := range []struct {
		text   string
		from   *netns.Namespace
		source string
	}{
		{"a range's source in no pool", stranger, "10.100.9.9"},
		{"a source of our own pool", stranger, "10.100.1.9"},
		{"a peer's source, another network", stranger, "10.101.2.9"},
		{"another network's host, own pool", stranger, "10.101.1.9"},
		{"a container as a third host's", far.NS, "10.100.3.9"},
		{"a container as its host's other", far.NS, "10.101.2.9"},
	} {
		send(c.from, c.source, target, c.text)
	}
	for _, text := range ear.all(t, moment) {
		if text != "of a peer" && text != "forged" { // one of those that were repeated
			t.Errorf("%s was delivered", text)
		}
	}
	other := b.Add("red")
	redEar.mustHear(t, "of red", func() { send(other.NS, "10.101.2.9", red, "of red") })
	if send(far.NS, "10.101.2.9", red, "of blue as red's"); redEar.hears(t, "of blue as red's", moment) {
		t.Error("a container of network blue was heard in red, with a source of red")
	}
}

// TestARangeAroundTheUnderlay cuts no host off: the network is left out where a
// host's own address is in its range, and the others go on.
func TestARangeAroundTheUnderlay(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	f := w.Peers()
	f.Networks = append(f.Networks, static.Network{Name: "wide", Ranges: []netip.Prefix{netip.MustParsePrefix("192.0.0.0/16")}})
	w.WritePeers(f)
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(1)
		awaitUsable(h, "blue", 2)
		h.Await("the network left out", func(s control.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "network wide is left out: its range 192.0.0.0/16") })
		})
		// Nobody listens there, and the host says so.
		conn, err := hosts.DialFrom(w.Switch, netip.AddrPortFrom(h.Addr, 9), hosts.Patience)
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("host %s can't be reached any more: %v, %v", h.Name, conn, err)
		}
	}
	one, two := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue")
	if _, err := one.Await(two.Addr); err != nil {
		t.Error(err)
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
	// Some kernels' bridges and veths (Linux 6.1) let a frame through that is longer
	// than the MTU by a VLAN's header; then so much does fit on the way.
	const vlanHeader = 4
	mtu := map[string]int{}
	a.Await("aware of both ways", func(s control.Status) bool {
		for _, p := range s.Peers {
			mtu[p.Name] = p.MTU
		}
		return s.MTU == 8950 && (mtu["b"] == 1450 || mtu["b"] == 1450+vlanHeader) && mtu["c"] == 8950
	})
	eventually(t, "the route to the small one has its MTU, and the other none", func() bool {
		small, _ := a.NS.Output("ip", "route", "show", "10.100.2.0/24")
		large, _ := a.NS.Output("ip", "route", "show", "10.100.3.0/24")
		return strings.Contains(small, fmt.Sprint("mtu ", mtu["b"])) && large != "" && !strings.Contains(large, "mtu")
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
