package firewall

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// TestAChangedFenceLosesNothing: while peers and networks come and go, every
// packet between those that stay passes.
func TestAChangedFenceLosesNothing(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		near, far := joined(t, host, "nb-blue", "10.100.1"), joined(t, host, "netctl-overlay", "10.100.2")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(host.Run("sysctl", "-q", "net.ipv4.ip_forward=1"))
		links := func() (f wire.Fence) {
			tunnel, err := net.InterfaceByName("netctl-overlay")
			must(err)
			f = fence()
			f.Tunnel = uint32(tunnel.Index)
			return f
		}
		_, err := ApplyFence(links(), false)
		must(err)
		must(host.Run("nft", `table inet seen {
	counter nearin { }
	counter nearout { }
	counter farin { }
	counter farout { }
	chain in { type filter hook prerouting priority -400; iifname "netctl-overlay" meta mark set 7; udp dport 9 iifname "nb-blue" counter name nearin; udp dport 9 iifname "netctl-overlay" counter name farin; }
	chain out { type filter hook postrouting priority 400; udp dport 9 oifname "nb-blue" counter name nearout; udp dport 9 oifname "netctl-overlay" counter name farout; }
}`))
		whileFlooded(t, host, near, far, func() {
			for i := range 100 {
				other := links()
				if i%2 == 0 {
					other.Members = append(other.Members, netip.MustParseAddr("192.0.2.3"))
					other.Ranges = append(other.Ranges, netip.MustParsePrefix("10.101.0.0/16"))
					other.Peers = append(other.Peers, wire.Grouped{Pool: netip.MustParsePrefix("10.100.5.0/24"), Group: 7})
					other.Own = append(other.Own, wire.Grouped{Pool: netip.MustParsePrefix("10.101.1.0/24"), Group: 8})
					other.Networks = append(other.Networks, wire.FencedNetwork{Bridge: "nb-red", Group: 8, Admits: []uint16{8}, Host: []netip.Addr{netip.MustParseAddr("10.101.1.0")}})
				}
				written, err := ApplyFence(other, false)
				if err != nil || !written {
					t.Errorf("written %v, %v", written, err)
				}
			}
		})
	})
}

// joined is a namespace on a link of the host's, as a container on a bridge is
// or a peer behind the tunnel.
func joined(t *testing.T, host *netns.Namespace, device, net string) *netns.Namespace {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	for _, err := range []error{
		host.Run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", ns.Path()),
		host.Run("ip", "addr", "add", net+".1/24", "dev", device),
		host.Run("ip", "link", "set", device, "up"),
		ns.Run("ip", "addr", "add", net+".2/24", "dev", "eth0"),
		ns.Run("ip", "link", "set", "eth0", "up"),
		ns.Run("ip", "route", "add", "default", "via", net+".1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

// whileFlooded has packets sent both ways while something changes. It fails the test
// unless each that came into the host by nearin or farin has gone out of it by farout or
// nearout: the names of the host's counters, which it gives with all others.
func whileFlooded(t *testing.T, host, near, far *netns.Namespace, change func()) (count map[string]string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stop, sent := make(chan struct{}), make(chan error, 2)
	for from, to := range map[*netns.Namespace]string{near: "10.100.2.2:9", far: "10.100.1.2:9"} {
		var conn net.Conn
		must(from.Do(func() (err error) { conn, err = net.Dial("udp", to); return err }))
		go func() { sent <- flood(conn, stop) }()
	}
	change()
	close(stop)
	must(errors.Join(<-sent, <-sent))
	shown, err := host.Output("nft", "list", "counters")
	must(err)
	count = map[string]string{}
	for _, m := range regexp.MustCompile(`counter (\w+) \{\s+packets (\d+)`).FindAllStringSubmatch(shown, -1) {
		count[m[1]] = m[2]
	}
	t.Logf("packets: %v", count)
	if count["nearin"] != count["farout"] || count["farin"] != count["nearout"] || count["nearin"] == "0" || count["farin"] == "0" {
		t.Errorf("what came in and went out: %v", count)
	}
	return count
}

// flood sends many packets, and not so many that the machine's queues overflow.
// Nobody listens there, which is no error.
func flood(conn net.Conn, stop <-chan struct{}) error {
	defer conn.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		for range 50 {
			_, _ = conn.Write([]byte{1})
		}
	}
}

// TestAFenceThatIsChanged holds what it should hold, and where little is known
// shuts nobody out; but what is no longer this host's own goes at once.
func TestAFenceThatIsChanged(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for name, c := range map[string]struct {
		keep          bool
		change        func(*wire.Fence)
		there, absent []string
	}{
		"a peer gone": {false, func(f *wire.Fence) { f.Peers, f.Members = f.Peers[1:], f.Members[:1] },
			[]string{"10.100.2.0/24, 10.100.4.0/24", "{ 192.0.2.1 }"}, []string{"10.100.3.0", "192.0.2.2", "2001:db8::2"}},
		"a peer not known of": {true, func(f *wire.Fence) { f.Peers, f.Members = f.Peers[1:], f.Members[:1] },
			[]string{"10.100.3.0/24", "192.0.2.2", "2001:db8::2"}, nil},
		"a lost pool": {true, func(f *wire.Fence) { f.Own, f.Networks[0].Host = nil, nil },
			[]string{"10.100.3.0/24"}, []string{"10.100.1.0"}},
		"another range over the old one": {false, func(f *wire.Fence) { f.Ranges[0] = prefix("10.96.0.0/12") },
			[]string{"10.96.0.0/12"}, []string{"10.100.0.0/16"}},
		"the same, where little is known": {true, func(f *wire.Fence) { f.Ranges[0] = prefix("10.96.0.0/12") },
			[]string{"10.96.0.0/12"}, nil},
		"a range inside another": {false, func(f *wire.Fence) { f.Ranges = append(f.Ranges, prefix("10.100.128.0/17")) }, []string{"10.100.0.0/16"}, nil},
		"another group":          {false, func(f *wire.Fence) { f.Networks[0].Group = 9 }, []string{`"nb-blue" : 0x09000000`, "10.100.1.0 : 0x09000000"}, []string{`"nb-blue" : 0x07000000`}},
		"a network more": {false, func(f *wire.Fence) {
			f.Networks = append(f.Networks, wire.FencedNetwork{Bridge: "nb-red", Group: 8, Admits: []uint16{8}})
		}, []string{`"nb-red" : 0x08000000`, `0x00000008 . "nb-red"`, `0x00000007 . "nb-blue"`}, nil},
		"other rules":   {true, func(f *wire.Fence) { f.Port, f.Local = 8472, addr("192.0.2.9") }, []string{"udp dport 8472 ip daddr 192.0.2.9"}, []string{"4789"}},
		"direct routes": {true, func(f *wire.Fence) { f.Direct = "eth0" }, []string{"map @groups", `iifname "eth0"`}, nil},
		"the last pool of a range": {false, func(f *wire.Fence) {
			f.Peers = append(f.Peers, wire.Grouped{Pool: prefix("255.255.255.0/24"), Group: 7})
		}, []string{"255.255.255.0/24"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func(host *netns.Namespace) {
				_, err := ApplyFence(fence(), false)
				before := identity(t, host)
				f := fence()
				c.change(&f)
				written, err2 := ApplyFence(f, c.keep)
				if err := errors.Join(err, err2); err != nil || !written {
					t.Fatalf("written %v, %v", written, err)
				}
				if same := identity(t, host) == before; same != (name != "direct routes") {
					t.Errorf("the tables are the same ones as before: %v", same)
				}
				if again, err := ApplyFence(f, c.keep); err != nil || again {
					t.Errorf("again: written %v, %v; want nothing", again, err)
				}
				text := fenceText(t, host)
				for _, want := range c.there {
					if !strings.Contains(text, want) {
						t.Errorf("no %q in:\n%s", want, text)
					}
				}
				for _, gone := range c.absent {
					if strings.Contains(text, gone) {
						t.Errorf("%q is still in:\n%s", gone, text)
					}
				}
				// What was kept goes when all is known.
				_, err = ApplyFence(f, false)
				if text = fenceText(t, host); err != nil || strings.Contains(text, fenceMore) {
					t.Errorf("exactly: %v\n%s", err, text)
				}
			})
		})
	}
}

// identity is the numbers that the kernel gave the tables.
func identity(t *testing.T, host *netns.Namespace) string {
	t.Helper()
	text, err := host.Output("nft", "-a", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(regexp.MustCompile(`table ip6? .* # handle \d+`).FindAllString(text, -1), "\n")
}

// TestAFenceFollowsAnyChange goes from any set of pools to any other.
func TestAFenceFollowsAnyChange(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	inNamespace(t, func(host *netns.Namespace) {
		for range 25 {
			f := fence()
			f.Peers, f.Members = nil, f.Members[:1]
			var want []string
			for i := range 16 {
				if random.IntN(2) == 0 {
					pool := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, byte(i), 0}), 24)
					f.Peers = append(f.Peers, wire.Grouped{Pool: pool, Group: 7})
					f.Members = append(f.Members, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}))
					want = append(want, pool.String())
				}
			}
			if _, err := ApplyFence(f, false); err != nil {
				t.Fatalf("to %q: %v", want, err)
			}
			text, err := host.Output("nft", "list", "set", "ip", FenceTable, "peers")
			if err != nil {
				t.Fatal(err)
			}
			if got := regexp.MustCompile(`10\.100\.\d+\.0/24`).FindAllString(text, -1); !slices.Equal(got, want) {
				t.Fatalf("it has %q, want %q", got, want)
			}
		}
	})
}
