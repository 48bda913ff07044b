package overlay

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/bench/page"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/netns"
)

var benchPage = flag.String("overlay.page", "", "write the tables into this page")

// Numbers of a benchmark; OVERLAY_BENCH=small is for a look whether it works.
func numbers() (rounds, requests, megabytes, peers int) {
	if os.Getenv("OVERLAY_BENCH") == "small" {
		return 3, 200, 8, 100
	}
	return 11, 3000, 256, 1000
}

// BenchmarkOverlay measures what the specification has targets for, and writes
// it down.
func BenchmarkOverlay(b *testing.B) {
	section := page.New("overlay")
	targets := dataPath(b, section)
	targets = append(targets, manyPeers(b, section)...)
	targets = append(targets, startTimes(b, section)...)
	section.Targets(targets)
	section.Printf("%s.", page.Machine())
	b.Log("\n" + section.String())
	b.ReportMetric(0, "ns/op")
	if *benchPage != "" {
		if err := section.Write(*benchPage); err != nil {
			b.Fatal(err)
		}
	}
}

// A way is a pair of containers with a network between them.
type way struct {
	name     string
	from, at *netns.Namespace
	to       netip.Addr
	rr, mbps []float64
}

// dataPath compares our overlay with a raw VXLAN made with ip(8), the same with
// flannel's own rules, and two containers on one bridge: request and answer of
// one byte over TCP, and throughput, interleaved.
func dataPath(b *testing.B, section *page.Section) []page.Target {
	rounds, requests, megabytes, _ := numbers()
	w := hosts.New(b, binaries, 2)
	w.WritePeers(w.Peers())
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(1)
		awaitUsable(h, "blue", 2)
	}
	one, two, near := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue"), w.Hosts[0].Add("blue")
	if _, err := one.Await(two.Addr); err != nil {
		b.Fatal(err)
	}
	bare, filtered := rawVxlan(b, w, 0, false), rawVxlan(b, w, 2, true)
	bare.name, filtered.name = "raw VXLAN", "raw VXLAN with flannel's rules"
	ways := []*way{bare, filtered, {name: "overlay", from: one.NS, at: two.NS, to: two.Addr}, {name: "one bridge", from: one.NS, at: near.NS, to: near.Addr}}
	for range rounds {
		for _, p := range ways {
			p.rr = append(p.rr, requestMicroseconds(b, p, requests))
			p.mbps = append(p.mbps, throughput(b, p.from, p.to, megabytes))
		}
	}
	rows := [][]string{{"way", "request and answer, p50 µs", "of raw", "there and back, Gbit/s", "of raw"}}
	for _, p := range ways {
		rows = append(rows, []string{p.name, spread(p.rr), fmt.Sprintf("%.2f", median(p.rr)/median(bare.rr)),
			fmt.Sprintf("%.1f", median(p.mbps)/1000), fmt.Sprintf("%.2f", median(p.mbps)/median(bare.mbps))})
	}
	section.Table(rows)
	ours := median(ways[2].rr)
	return []page.Target{
		{What: "25: request and answer, of raw VXLAN", Limit: 1.05, Measured: ours / median(bare.rr)},
		{What: "25: request and answer, of raw VXLAN with flannel's rules", Limit: 1.02, Measured: ours / median(filtered.rr)},
		{What: "25: throughput, of raw VXLAN with flannel's rules", Limit: 0.97, AtLeast: true, Measured: median(ways[2].mbps) / median(filtered.mbps)},
	}
}

// spread is the median, with the least and the most.
func spread(all []float64) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", median(all), slices.Min(all), slices.Max(all))
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// rawVxlan is two further hosts with a container each, joined as flannel does,
// with ip and nothing else; or with the rules that flannel adds, too.
func rawVxlan(b *testing.B, w *hosts.World, first int, filter bool) *way {
	b.Helper()
	var containers []*netns.Namespace
	for i := range 2 {
		h := w.AddHost(string(rune('w'+first+i)), netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + first + i)}))
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
			fmt.Sprintf("link add vx0 address 02:aa:00:00:00:%02d type vxlan id 5 dstport 8472 local 192.0.2.%d dev eth0 nolearning", mine, 100+first+mine), "link set vx0 mtu 1450 up",
			fmt.Sprintf("neigh add 10.200.%d.0 lladdr 02:aa:00:00:00:%02d dev vx0 nud permanent", other, other),
			fmt.Sprintf("route add 10.200.%d.0/24 via 10.200.%d.0 dev vx0 onlink", other, other),
		} {
			if err := h.NS.Run("ip", strings.Fields(line)...); err != nil {
				b.Fatal(err)
			}
		}
		for _, err := range []error{
			h.NS.Run("bridge", "fdb", "add", fmt.Sprintf("02:aa:00:00:00:%02d", other), "dev", "vx0", "dst", fmt.Sprintf("192.0.2.%d", 100+first+other)),
			h.NS.Run("sysctl", "-qw", "net.ipv4.ip_forward=1"),
			c.Run("ip", "addr", "add", fmt.Sprintf("10.200.%d.2/24", mine), "dev", "eth0"), c.Run("ip", "link", "set", "eth0", "mtu", "1450", "up"),
			c.Run("ip", "route", "add", "default", "via", fmt.Sprintf("10.200.%d.1", mine)),
			flannelRules(b, h, mine, filter),
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
	return &way{from: containers[0], at: containers[1], to: to}
}

// flannelRules are those of flannel's nftables mode: masquerade to the outside,
// and a way through FORWARD.
func flannelRules(b *testing.B, h *hosts.Host, subnet int, wanted bool) error {
	if !wanted {
		return nil
	}
	file := filepath.Join(b.TempDir(), "rules")
	rules := fmt.Sprintf(`table ip flannel-ipv4 {
	chain postrtg {
		type nat hook postrouting priority srcnat
		meta mark & 0x4000 == 0x4000 return
		ip saddr 10.200.%[1]d.0/24 ip daddr 10.200.0.0/16 return
		ip saddr 10.200.0.0/16 ip daddr 10.200.%[1]d.0/24 return
		ip saddr != 10.200.%[1]d.0/24 ip daddr 10.200.0.0/16 return
		ip saddr 10.200.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
	}
	chain forward {
		type filter hook forward priority filter
		ip saddr 10.200.0.0/16 accept
		ip daddr 10.200.0.0/16 accept
	}
}
`, subnet)
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

// requestMicroseconds is the median of n requests, each a byte and a byte back,
// on threads that wait in the kernel: a runtime's own poller would hide part of
// the way.
func requestMicroseconds(b *testing.B, p *way, n int) float64 {
	var conn, listener int
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
	go answer(listener)
	err = p.from.Do(func() (err error) {
		if conn, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.Connect(conn, bound))
	})
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(conn)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all []float64
	for buffer := make([]byte, 1); len(all) < n; {
		start := time.Now()
		_, err1 := unix.Write(conn, buffer)
		_, err2 := unix.Read(conn, buffer)
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		all = append(all, float64(time.Since(start).Nanoseconds())/1000)
	}
	return median(all)
}

// answer sends back what one connection brings, until it ends.
func answer(listener int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	conn, _, err := unix.Accept(listener)
	if err != nil {
		return
	}
	defer unix.Close(conn)
	_ = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	for buffer := make([]byte, 1); ; {
		if n, err := unix.Read(conn, buffer); n == 0 || err != nil {
			return
		}
		if _, err := unix.Write(conn, buffer); err != nil {
			return
		}
	}
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

// manyPeers has a host join an etcd with many others in it: from the start of
// the process until it has claimed a pool and reaches everybody; again with
// nothing changed, when the kernel must hear of nothing; memory; and what etcd
// was asked.
func manyPeers(b *testing.B, section *page.Section) []page.Target {
	rounds, _, _, peers := numbers()
	rounds = (rounds + 1) / 2
	w := hosts.New(b, binaries, 0)
	e := w.StartEtcd()
	e.Populate("blue", netip.MustParsePrefix("10.64.0.0/12"), peers)
	var joins, restarts, rss, calls []float64
	var methods []string
	announced := 0
	for i := range rounds {
		h := w.AddHost(fmt.Sprintf("new%d", i), netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
		h.UseEtcd()
		before := e.Calls()
		start := time.Now()
		h.StartWithEtcd("--log-level", "warn")
		awaitDefinition(b, h, "blue")
		joins = append(joins, milliseconds(start))
		total := 0.0
		methods = methods[:0]
		for method, n := range e.Calls() {
			if n -= before[method]; n > 0 {
				total, methods = total+float64(n), append(methods, fmt.Sprintf("%s %d", method, n))
			}
		}
		slices.Sort(methods)
		calls = append(calls, total)
		h.Ready(peers + i)
		rss = append(rss, residentMegabytes(b, h.PID()))
		awaitQuiet(b, h)
		monitor, err := hosts.Listen(h.NS)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := monitor.Heard(); err != nil {
			b.Fatal(err)
		}
		h.Stop()
		start = time.Now()
		h.StartWithEtcd("--log-level", "warn")
		h.Await("ready again", func(s control.Status) bool { return s.Ready && len(s.Peers) == peers+i })
		restarts = append(restarts, milliseconds(start))
		heard, err := monitor.Heard()
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range heard {
			announced += n
		}
		monitor.Close()
		h.Stop()
	}
	section.Printf("A host joins an etcd with %d others (%d times): %s ms from the start of overlayd until it has a pool and reaches everybody, "+
		"%s calls to etcd (the last: %s), %s MB resident; started again with nothing changed: ready after %s ms, and the kernel announced %d changes.",
		peers, rounds, spread(joins), spread(calls), strings.Join(methods, ", "), spread(rss), spread(restarts), announced)
	return []page.Target{
		{What: fmt.Sprintf("3: join with %d others in etcd", peers), Limit: 60, Unit: " ms", Measured: median(joins)},
		{What: "5: resident memory", Limit: 30, Unit: " MB", Measured: median(rss)},
		{What: "6: calls to the store at the start", Limit: 5, Measured: median(calls)},
		{What: "7: changes announced after a restart with nothing changed", Limit: 0, Measured: float64(announced)},
	}
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// awaitDefinition waits for what overlayd writes last, without asking it: its
// status asks the store who is alive.
func awaitDefinition(b *testing.B, h *hosts.Host, network string) {
	for deadline := time.Now().Add(hosts.Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(h.ConfDir(), network+".conflist")); err == nil {
			return
		}
	}
	b.Fatalf("no definition of %s:\n%s", network, h.Log())
}

// awaitQuiet waits until the kernel has done what it does by itself with new
// links: looking for duplicates of link-local addresses.
func awaitQuiet(b *testing.B, h *hosts.Host) {
	for deadline := time.Now().Add(hosts.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if out, err := h.NS.Output("ip", "-6", "addr", "show", "tentative"); err == nil && out == "" {
			return
		}
	}
	b.Fatal("addresses stay tentative")
}

// startTimes are rows 1 and 2: three hosts start at once, and a fourth comes.
func startTimes(b *testing.B, section *page.Section) []page.Target {
	rounds, _, _, _ := numbers()
	var usable, answer, fourth []float64
	for range (rounds + 1) / 2 {
		w := hosts.New(b, binaries, 3)
		e := w.StartEtcd()
		e.Populate("blue", netip.MustParsePrefix("10.64.0.0/12"), 0)
		start := time.Now()
		for _, h := range w.Hosts {
			h.StartWithEtcd()
		}
		for _, h := range w.Hosts {
			awaitUsable(h, "blue", 3)
		}
		usable = append(usable, milliseconds(start))
		one, two := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue")
		if _, err := one.Await(two.Addr); err != nil {
			b.Fatal(err)
		}
		answer = append(answer, milliseconds(start))
		d := w.AddHost("d", netip.AddrFrom4([4]byte{192, 0, 2, 4}))
		d.UseEtcd()
		start = time.Now()
		d.StartWithEtcd()
		for _, h := range w.Hosts {
			awaitUsable(h, "blue", 4)
		}
		fourth = append(fourth, milliseconds(start))
		for _, h := range w.Hosts {
			h.Stop()
		}
	}
	section.Printf("")
	section.Printf("Three hosts started at once can use the network after %s ms, and a container of one has an answer from another's after %s ms (two ADDs in it); "+
		"a fourth can be used, and is known to all, %s ms after its start. (flannel was not run here: rows 1 and 2 compare with it.)", spread(usable), spread(answer), spread(fourth))
	return nil
}

func residentMegabytes(b *testing.B, pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	var kilobytes float64
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &kilobytes)
		}
	}
	return kilobytes / 1024
}
