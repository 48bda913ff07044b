package overlay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/bench/page"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/netns"
)

// A way is a pair of containers with a network between them.
type way struct {
	name     string
	from, at *netns.Namespace
	to       netip.Addr
	// client and server are the ends of one connection.
	client, server int
	// apart and together are the medians of each round's requests, in
	// microseconds, with the ends on two processors and on one.
	apart, together []float64
	mbps            []float64
}

// tracking has the kernel track connections, and nothing else: it does so where
// a rule asks for it.
const tracking = `table inet tracking {
	chain nowhere {
		ct state new accept
	}
}
`

// flannel's rules in its nftables mode: masquerade to the outside, and a way
// through FORWARD. MINE is the third number of the host's subnet.
const flannel = `table ip flannel-ipv4 {
	chain postrtg {
		type nat hook postrouting priority srcnat
		meta mark & 0x4000 == 0x4000 return
		ip saddr 10.200.MINE.0/24 ip daddr 10.200.0.0/16 return
		ip saddr 10.200.0.0/16 ip daddr 10.200.MINE.0/24 return
		ip saddr != 10.200.MINE.0/24 ip daddr 10.200.0.0/16 return
		ip saddr 10.200.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
	}
	chain forward {
		type filter hook forward priority filter
		ip saddr 10.200.0.0/16 accept
		ip daddr 10.200.0.0/16 accept
	}
}
`

// dataPath compares our overlay, with each mechanism of the attachments' rules,
// with raw VXLANs made with ip(8) and with two containers on one bridge: request
// and answer of one byte over TCP, and throughput.
//
// All are measured in turns of a few milliseconds, and each round's figure is set
// beside the raw VXLAN's of the same round: what else the machine does then hits
// all alike.
func dataPath(b *testing.B, section *page.Section) []page.Target {
	w := hosts.New(b, binaries, 6)
	bare := rawVxlan(b, w, "raw VXLAN", "")
	tracked := rawVxlan(b, w, "raw VXLAN, connections tracked", tracking)
	filtered := rawVxlan(b, w, "raw VXLAN with flannel's rules", flannel)
	nft, ipt := overlayWays(b, w)
	usual := overlayUsualWay(b)
	stripped := overlayWithoutRules(b, w)
	near := w.Hosts[0].Add("blue")
	ways := []*way{bare, tracked, filtered, nft, ipt, usual, stripped, {name: "one bridge", from: nft.from, at: near.NS, to: near.Addr}}
	measure(b, ways)
	rows := [][]string{{"way", "on two processors, p50 µs", "of raw", "on one processor, p50 µs", "of raw", "there and back, Gbit/s", "of raw"}}
	for _, p := range ways {
		rows = append(rows, []string{p.name, fmt.Sprintf("%.1f", median(p.apart)), within(ratios(p.apart, bare.apart)),
			fmt.Sprintf("%.1f", median(p.together)), within(ratios(p.together, bare.together)),
			fmt.Sprintf("%.1f", median(p.mbps)/1000), within(ratios(p.mbps, bare.mbps))})
	}
	section.Printf("Medians; \"of raw\" is the median [p10..p90] over %d rounds of a round's median divided by the raw VXLAN's in the same round.", len(bare.apart))
	section.Table(rows)
	return []page.Target{
		{What: "25: request and answer, of raw VXLAN", Limit: 1.05, Measured: median(ratios(nft.apart, bare.apart))},
		{What: "25: request and answer on one processor, of raw VXLAN", Limit: 1.05, Measured: median(ratios(nft.together, bare.together))},
		{What: "25: request and answer, of raw VXLAN with flannel's rules", Limit: 1.02, Measured: median(ratios(nft.apart, filtered.apart))},
		{What: "25: throughput, of raw VXLAN with flannel's rules", Limit: 0.97, AtLeast: true, Measured: median(ratios(nft.mbps, filtered.mbps))},
	}
}

// overlayWays are containers of one overlay, on hosts with nftables and on hosts
// with iptables.
func overlayWays(b *testing.B, w *hosts.World) (nft, ipt *way) {
	members := w.Hosts[:6]
	f := w.Peers()
	f.Peers = f.Peers[:len(members)]
	w.WritePeers(f)
	for _, h := range members[2:4] {
		h.Firewall = "iptables"
	}
	for _, h := range members {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range members {
		h.Ready(len(members) - 1)
		awaitUsable(h, "blue", len(members))
	}
	nft, ipt = overlayWay(b, "overlay, nftables", members[0], members[1]), overlayWay(b, "overlay, iptables", members[2], members[3])
	for _, h := range members[:4] {
		takesWay(h, 1)
	}
	return nft, ipt
}

// takesWay waits until so many containers of a host are on the fast path.
func takesWay(h *hosts.Host, fast int) {
	h.Await(fmt.Sprintf("a host with %d containers on the fast path", fast), func(s control.Status) bool {
		return len(s.Networks) == 1 && len(s.Networks[0].Fast) == fast
	})
}

func overlayWay(b *testing.B, name string, one, two *hosts.Host) *way {
	from, at := one.Add("blue"), two.Add("blue")
	if _, err := from.Await(at.Addr); err != nil {
		b.Fatal(err)
	}
	return &way{name: name, from: from.NS, at: at.NS, to: at.Addr}
}

// overlayUsualWay is a container of each of two hosts of another overlay, whose
// network has the option fast_path=false: as where somebody's rules look on.
func overlayUsualWay(b *testing.B) *way {
	w := hosts.New(b, binaries, 2)
	w.FastPath = store.FastOff
	w.WritePeers(w.Peers())
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(1)
		awaitUsable(h, "blue", 2)
	}
	p := overlayWay(b, "overlay, nftables, fast_path=false", w.Hosts[0], w.Hosts[1])
	for _, h := range w.Hosts {
		takesWay(h, 0)
	}
	return p
}

// overlayWithoutRules is what the overlay's routes and devices take by
// themselves. Without overlayd nobody makes the rules again.
func overlayWithoutRules(b *testing.B, w *hosts.World) *way {
	one, two := w.Hosts[4], w.Hosts[5]
	p := overlayWay(b, "overlay, all rules flushed", one, two)
	for _, h := range []*hosts.Host{one, two} {
		h.Kill()
		if err := h.NS.Run("nft", "flush", "ruleset"); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

// ratios are those of each round.
func ratios(of, to []float64) []float64 {
	all := make([]float64, len(of))
	for i := range all {
		all[i] = of[i] / to[i]
	}
	return all
}

// within is the median, with what eight in ten lie between.
func within(all []float64) string {
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%.2f [%.2f..%.2f]", median(all), sorted[len(sorted)/10], sorted[len(sorted)*9/10])
}

// rawVxlan is two further hosts with a container each, joined as flannel does,
// with ip and these rules.
func rawVxlan(b *testing.B, w *hosts.World, name string, rules string) *way {
	b.Helper()
	var containers []*netns.Namespace
	first := 100 + len(w.Hosts)
	for i := range 2 {
		h := w.AddHost(fmt.Sprintf("raw%d", first+i), netip.AddrFrom4([4]byte{192, 0, 2, byte(first + i + 1)}))
		c, err := netns.New()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		containers = append(containers, c)
		mine, other := i+1, 2-i
		for _, line := range []string{
			"link add br0 type bridge", fmt.Sprintf("addr add 10.200.%d.1/24 dev br0", mine), "link set br0 mtu 1450 up",
			"link add v0 master br0 mtu 1450 type veth peer name eth0 netns " + c.Path(), "link set v0 up",
			fmt.Sprintf("link add vx0 address 02:aa:00:00:00:%02d type vxlan id 5 dstport 8472 local 192.0.2.%d dev eth0 nolearning", mine, first+mine), "link set vx0 mtu 1450 up",
			fmt.Sprintf("neigh add 10.200.%d.0 lladdr 02:aa:00:00:00:%02d dev vx0 nud permanent", other, other),
			fmt.Sprintf("route add 10.200.%d.0/24 via 10.200.%d.0 dev vx0 onlink", other, other),
		} {
			if err := h.NS.Run("ip", strings.Fields(line)...); err != nil {
				b.Fatal(err)
			}
		}
		for _, err := range []error{
			h.NS.Run("bridge", "fdb", "add", fmt.Sprintf("02:aa:00:00:00:%02d", other), "dev", "vx0", "dst", fmt.Sprintf("192.0.2.%d", first+other)),
			h.NS.Run("sysctl", "-qw", "net.ipv4.ip_forward=1"),
			c.Run("ip", "addr", "add", fmt.Sprintf("10.200.%d.2/24", mine), "dev", "eth0"), c.Run("ip", "link", "set", "eth0", "mtu", "1450", "up"),
			c.Run("ip", "route", "add", "default", "via", fmt.Sprintf("10.200.%d.1", mine)),
			load(b, h, strings.ReplaceAll(rules, "MINE", strconv.Itoa(mine))),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	to := netip.MustParseAddr("10.200.2.2")
	if err := containers[1].Do(func() error { return serveEcho(b, to) }); err != nil {
		b.Fatal(err)
	}
	return &way{name: name, from: containers[0], at: containers[1], to: to}
}

// load has nft read the rules.
func load(b *testing.B, h *hosts.Host, rules string) error {
	file := filepath.Join(b.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		return err
	}
	return h.NS.Run("nft", "-f", file)
}

func serveEcho(b *testing.B, at netip.Addr) error {
	l, err := net.Listen("tcp", netip.AddrPortFrom(at, hosts.EchoPort).String())
	if err != nil {
		return err
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
		}
	}()
	return nil
}

func dial(b *testing.B, from *netns.Namespace, to netip.Addr) net.Conn {
	b.Helper()
	conn, err := hosts.DialFrom(from, netip.AddrPortFrom(to, hosts.EchoPort), hosts.Patience)
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

// measure takes turns.
func measure(b *testing.B, ways []*way) {
	rounds, requests, transfers, megabytes := 300, 120, 60, 48
	if small() {
		rounds, requests, transfers, megabytes = 20, 50, 3, 8
	}
	two := processors(b)
	for _, p := range ways {
		defer p.connect(b, two[0])()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range rounds {
		for _, p := range ways {
			pin(b, two[1])
			p.apart = append(p.apart, p.requests(b, requests))
			pin(b, two[0])
			p.together = append(p.together, p.requests(b, requests))
		}
	}
	pin(b, two...)
	for range transfers {
		for _, p := range ways {
			p.mbps = append(p.mbps, throughput(b, p.from, p.to, megabytes))
		}
	}
}

// processors are two of those this process may use, the same twice if it has
// only one.
func processors(b *testing.B) []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
	var all []int
	for i := 0; len(all) < set.Count(); i++ {
		if set.IsSet(i) {
			all = append(all, i)
		}
	}
	return []int{all[0], all[len(all)-1]}
}

// pin keeps the thread on these processors.
func pin(b *testing.B, to ...int) {
	var set unix.CPUSet
	for _, i := range to {
		set.Set(i)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
}

// connect opens the connection whose far end answers on one processor, on a
// thread that waits in the kernel: a runtime's own poller would hide part of the
// way.
func (p *way) connect(b *testing.B, processor int) (end func()) {
	var listener int
	err := p.at.Do(func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Addr: p.to.As4()}), unix.Listen(listener, 1))
	})
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(listener)
	bound, err := unix.Getsockname(listener)
	if err != nil {
		b.Fatal(err)
	}
	err = p.from.Do(func() (err error) {
		if p.client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(p.client, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.Connect(p.client, bound))
	})
	if err != nil {
		b.Fatalf("%s: %v", p.name, err)
	}
	if p.server, _, err = unix.Accept(listener); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.answer(b, processor)
	}()
	return func() { unix.Close(p.client); <-ended; unix.Close(p.server) }
}

// answer sends back what the connection brings, until it ends.
func (p *way) answer(b *testing.B, processor int) {
	runtime.LockOSThread() // and ends with the goroutine: its processor is its own
	pin(b, processor)
	_ = unix.SetsockoptInt(p.server, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	for buffer := make([]byte, 1); ; {
		if n, err := unix.Read(p.server, buffer); n == 0 || err != nil {
			return
		}
		if _, err := unix.Write(p.server, buffer); err != nil {
			return
		}
	}
}

// requests is the median of n, each a byte and a byte back, in microseconds. A
// few before them warm the caches up, which the others have used meanwhile.
func (p *way) requests(b *testing.B, n int) float64 {
	const warm = 20
	var all []float64
	for buffer := make([]byte, 1); len(all) < warm+n; {
		start := time.Now()
		_, err1 := unix.Write(p.client, buffer)
		_, err2 := unix.Read(p.client, buffer)
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		all = append(all, float64(time.Since(start).Nanoseconds())/1000)
	}
	return median(all[warm:])
}

// throughput sends there and back, and counts both.
func throughput(b *testing.B, from *netns.Namespace, to netip.Addr, megabytes int) float64 {
	conn := dial(b, from, to)
	defer conn.Close()
	start := time.Now()
	go func() {
		block := make([]byte, 1<<20)
		for range megabytes {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, conn, int64(megabytes)<<20); err != nil {
		b.Fatal(err)
	}
	return float64(megabytes) * 8 * 1.048576 / time.Since(start).Seconds()
}
