package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// manyPeers gives a fence so many pools of other hosts that a container reaches by
// the fast path.
func manyPeers(f wire.Fence, n int) wire.Fence {
	for i := range n {
		pool := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + i/256), byte(i), 0}), 24)
		host := netip.AddrFrom4([4]byte{198, 18, byte(i / 256), byte(i)})
		f.Members = append(f.Members, host)
		f.Peers = append(f.Peers, wire.Grouped{Pool: pool, Group: 7})
		f.Fast.Peers = append(f.Fast.Peers, wire.FastPeer{Pool: pool, Via: host})
	}
	return f
}

// withContainer adds one to the first network.
func withContainer(f wire.Fence, a netip.Addr) wire.Fence {
	f.Fast.Networks = slices.Clone(f.Fast.Networks)
	n := &f.Fast.Networks[0]
	n.Containers = append(slices.Clone(n.Containers), a)
	return f
}

// withPeer adds another host.
func withPeer(f wire.Fence) wire.Fence {
	pool, host := netip.MustParsePrefix("10.100.77.0/24"), netip.MustParseAddr("192.0.2.77")
	f.Members = append(slices.Clone(f.Members), host)
	f.Peers = append(slices.Clone(f.Peers), wire.Grouped{Pool: pool, Group: 7})
	f.Fast.Peers = append(slices.Clone(f.Fast.Peers), wire.FastPeer{Pool: pool, Via: host})
	return f
}

// BenchmarkFastPath is what overlayd writes when a container starts or ends, by the
// number of other hosts.
func BenchmarkFastPath(b *testing.B) {
	for _, peers := range []int{10, 1000} {
		b.Run(fmt.Sprint(peers), func(b *testing.B) {
			host, err := netns.New()
			if err != nil {
				b.Fatal(err)
			}
			defer host.Close()
			err = host.Do(func() error {
				f := manyPeers(fastFence(b, host), peers)
				one := withContainer(f, netip.MustParseAddr("10.100.1.3"))
				applyBoth(b, f)
				b.ResetTimer()
				for i := range b.N {
					applyBoth(b, []wire.Fence{one, f}[i%2])
				}
				b.StopTimer()
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// applyBoth is what overlayd does at each look.
func applyBoth(t testing.TB, f wire.Fence) (written bool) {
	t.Helper()
	fence, err := ApplyFence(f, false)
	fast, err2 := ApplyFastPath(f)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return fence || fast
}

// announced is how many objects of nf_tables were made and deleted by fn.
func announced(t *testing.T, fn func()) (count int) {
	t.Helper()
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, err := range []error{conn.JoinGroup(unix.NFNLGRP_NFTABLES), conn.SetReadBuffer(4 << 20)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fn()
	for {
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		messages, err := conn.Receive() // the kernel has told before fn returned
		if err != nil {
			return count
		}
		for _, m := range messages {
			if uint16(m.Header.Type)&0xff != unix.NFT_MSG_NEWGEN {
				count++
			}
		}
	}
}

// TestLittleIsWrittenForAContainer: what comes and goes is written, and nothing
// that was there before, among however many peers.
func TestLittleIsWrittenForAContainer(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		f := manyPeers(fastFence(t, host), 500)
		applyBoth(t, f)
		for _, c := range []struct {
			name string
			to   wire.Fence
			most int
		}{
			// Its address in the fence and in two maps, and the names of the three
			// tables' chains that say so, the old ones and the new.
			{"a container", withContainer(f, netip.MustParseAddr("10.100.1.3")), 3 + 6},
			// One member, two ends of an interval in three sets, and names.
			{"a peer", withPeer(f), 1 + 3*2 + 6},
			{"nothing", f, 0},
		} {
			if got := announced(t, func() { applyBoth(t, c.to) }); got > c.most || c.most > 0 && got == 0 {
				t.Errorf("%s: %d objects written, want at most %d", c.name, got, c.most)
			}
			applyBoth(t, f)
		}
	})
}

// TestAFastPathThatIsChanged holds what a new one would.
func TestAFastPathThatIsChanged(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for name, change := range map[string]func(f *wire.Fence, other uint32){
		"a container more":  func(f *wire.Fence, _ uint32) { *f = withContainer(*f, addr("10.100.1.3")) },
		"a container less":  func(f *wire.Fence, _ uint32) { f.Fast.Networks[0].Containers = f.Fast.Networks[0].Containers[:1] },
		"another container": func(f *wire.Fence, _ uint32) { f.Fast.Networks[0].Containers = []netip.Addr{addr("10.100.1.9")} },
		"a peer more": func(f *wire.Fence, _ uint32) {
			f.Fast.Peers = append(f.Fast.Peers, wire.FastPeer{Pool: prefix("10.100.3.0/24"), Via: addr("192.0.2.3")})
		},
		"a peer with another next hop": func(f *wire.Fence, _ uint32) { f.Fast.Peers[0].Via = addr("192.0.2.9") },
		"no peer":                      func(f *wire.Fence, _ uint32) { f.Fast.Peers = nil },
		"another group":                func(f *wire.Fence, _ uint32) { f.Fast.Networks[0].Group = 9 },
		"a network more": func(f *wire.Fence, other uint32) {
			f.Fast.Networks = append(f.Fast.Networks, wire.FastNetwork{Bridge: "nb-red", Number: other, Group: 8, Containers: []netip.Addr{addr("10.101.1.2")}})
		},
		"another network": func(f *wire.Fence, other uint32) {
			f.Fast.Networks = []wire.FastNetwork{{Bridge: "nb-red", Number: other, Group: 8, Containers: []netip.Addr{addr("10.101.1.2")}}}
		},
		"another tunnel": func(f *wire.Fence, other uint32) { f.Tunnel, f.Device = other, "nb-red" },
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func(host *netns.Namespace) {
				f := fastFence(t, host)
				if err := host.Run("ip", "link", "add", "nb-red", "type", "bridge"); err != nil {
					t.Fatal(err)
				}
				red, err := net.InterfaceByName("nb-red")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := ApplyFastPath(f); err != nil {
					t.Fatal(err)
				}
				f.Fast.Networks, f.Fast.Peers = slices.Clone(f.Fast.Networks), slices.Clone(f.Fast.Peers)
				change(&f, uint32(red.Index))
				for _, want := range []bool{true, false} {
					if written, err := ApplyFastPath(f); err != nil || written != want {
						t.Fatalf("written %v, %v; want %v", written, err, want)
					}
				}
				changed := fenceText(t, host)
				if err := RemoveFastPath(); err != nil {
					t.Fatal(err)
				}
				if _, err := ApplyFastPath(f); err != nil {
					t.Fatal(err)
				}
				if anew := fenceText(t, host); sortedLines(anew) != sortedLines(changed) {
					t.Errorf("changed:\n%s\nmade anew:\n%s", changed, anew)
				}
			})
		})
	}
}

// sortedLines is a listing whatever the order of chains and elements.
func sortedLines(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' })
	for i := range lines {
		lines[i] = strings.TrimSpace(strings.NewReplacer("elements = {", "", "}", "").Replace(lines[i]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestAChangedFastPathLosesNothing: while containers, peers and networks come and
// go, packets between those that stay pass, and all of them by the fast path.
func TestAChangedFastPathLosesNothing(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		near, far := joined(t, host, "nb-blue", "10.100.1"), joined(t, host, "netctl-overlay", "10.100.2")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(host.Run("sysctl", "-q", "net.ipv4.ip_forward=1"))
		must(host.Run("ip", "link", "add", "nb-red", "type", "bridge"))
		red, err := net.InterfaceByName("nb-red")
		must(err)
		f := fastFenceOf(t)
		f.Fast.Peers[0].Via = netip.MustParseAddr("10.100.2.2")
		applyBoth(t, f)
		// What waits for a neighbour's address can be too much to be kept.
		must(host.Run("nft", "table netdev group {\nchain arriving {\ntype filter hook ingress device netctl-overlay priority -10\nmeta mark set 7\n}\n}"))
		must(arrives(near, far, "10.100.1.2", "10.100.2.2:9", 64, true))
		must(arrives(far, near, "10.100.2.2", "10.100.1.2:9", 64, true))
		must(host.Run("nft", `table netdev seen {
	counter nearin { }
	counter nearout { }
	counter farin { }
	counter farout { }
	chain fi { type filter hook ingress device "netctl-overlay" priority -10; udp dport 9 counter name farin; }
	chain ni { type filter hook ingress device "nb-blue" priority -10; udp dport 9 counter name nearin; }
	chain fo { type filter hook egress device "netctl-overlay" priority 0; udp dport 9 counter name farout; }
	chain no { type filter hook egress device "nb-blue" priority 0; udp dport 9 counter name nearout; }
}
table ip forwarded {
	counter usual { }
	chain forward { type filter hook forward priority -300; udp dport 9 counter name usual; }
}`))
		count := whileFlooded(t, host, near, far, func() {
			for i := range 60 {
				other := withContainer(f, netip.MustParseAddr("10.100.1.3"))
				if i%2 == 0 {
					other = manyPeers(f, 20)
					other.Fast.Networks = append(slices.Clone(f.Fast.Networks), wire.FastNetwork{Bridge: "nb-red", Number: uint32(red.Index), Group: 8, Containers: []netip.Addr{netip.MustParseAddr("10.101.1.2")}})
				}
				if !applyBoth(t, other) {
					t.Error("nothing was written")
				}
			}
		})
		if count["usual"] != "0" {
			t.Errorf("%s packets went the usual way", count["usual"])
		}
	})
}

// TestAKernelWithoutFwd is told from one in which a link has just gone, and keeps
// nothing half made.
func TestAKernelWithoutFwd(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		f := fastFence(t, host)
		conn, letGo, err := fenceConn()
		if err != nil {
			t.Fatal(err)
		}
		defer letGo()
		w := newFastWriter(conn, f, "unheard-of")
		if err := w.refused(w.write(w.mark())); !errors.Is(err, ErrNoFastPath) {
			t.Errorf("an expression that the kernel does not know: %v, want %v", err, ErrNoFastPath)
		}
		if text := fenceText(t, host); text != "" {
			t.Errorf("left: %s", text)
		}
		if err := host.Run("ip", "link", "del", "nb-blue"); err != nil {
			t.Fatal(err)
		}
		// From 6.16 on a chain waits for its link.
		if _, err := ApplyFastPath(f); errors.Is(err, ErrNoFastPath) {
			t.Errorf("a bridge that is gone: %v, want nothing about the kernel", err)
		}
	})
}

// TestForgetTracked deletes what is between a container and a pool, in either
// direction, and nothing else.
func TestForgetTracked(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		near, far := joined(t, host, "nb-blue", "10.100.1"), joined(t, host, "netctl-overlay", "10.100.2")
		for _, err := range []error{
			host.Run("sysctl", "-q", "net.ipv4.ip_forward=1"),
			host.Run("nft", "table inet tracking {\nchain any {\ntype filter hook forward priority 0\nct state new accept\n}\n}"),
			near.Run("ip", "addr", "add", "10.100.1.3/24", "dev", "eth0"),
			far.Run("ip", "addr", "add", "10.100.3.2/32", "dev", "eth0"),
			host.Run("ip", "route", "add", "10.100.3.0/24", "dev", "netctl-overlay"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			from       *netns.Namespace
			source, to string
		}{
			{near, "10.100.1.2", "10.100.2.2"}, {far, "10.100.2.2", "10.100.1.2"},
			{near, "10.100.1.3", "10.100.2.2"}, {near, "10.100.1.2", "10.100.3.2"}, {far, "10.100.2.2", "10.100.1.3"},
		} {
			err := c.from.Do(func() error {
				conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(c.source)}, &net.UDPAddr{IP: net.ParseIP(c.to), Port: 9})
				if err != nil {
					return err
				}
				_, err = conn.Write([]byte{1})
				return errors.Join(err, conn.Close())
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		tracked := func() (all []string) {
			conn, done, err := dialConntrack()
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			flows, err := dumpFlows(conn, ipv4, wire.UDP)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range flows {
				all = append(all, fmt.Sprintf("%s > %s", f.src, f.dst))
			}
			slices.Sort(all)
			return all
		}
		for deadline := time.Now().Add(40 * time.Second); len(tracked()) < 5 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // neighbours are still asked for
		}
		n, err := ForgetTracked([]netip.Addr{netip.MustParseAddr("10.100.1.2")}, []netip.Prefix{netip.MustParsePrefix("10.100.2.0/24")})
		want := []string{"10.100.1.2 > 10.100.3.2", "10.100.1.3 > 10.100.2.2", "10.100.2.2 > 10.100.1.3"}
		if left := tracked(); err != nil || n != 2 || !slices.Equal(left, want) {
			t.Errorf("%d deleted, %v; left %q, want 2 and %q", n, err, left, want)
		}
	})
}
