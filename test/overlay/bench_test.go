package overlay

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store/static"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/netns"
)

// Numbers of a benchmark; OVERLAY_BENCH=small is for a look whether it works.
func numbers() (rounds, requests, megabytes, peers int) {
	if os.Getenv("OVERLAY_BENCH") == "small" {
		return 3, 200, 8, 100
	}
	return 9, 5000, 512, 1000
}

// BenchmarkDataPath compares our overlay with a raw VXLAN made with ip(8), and
// with two containers on one bridge: request and answer of one byte over TCP, and
// throughput, interleaved.
func BenchmarkDataPath(b *testing.B) {
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
	rawFrom, rawTo := rawVxlan(b, w)
	paths := []struct {
		name string
		from *netns.Namespace
		to   netip.Addr
	}{{"raw", rawFrom, rawTo}, {"overlay", one.NS, two.Addr}, {"bridge", one.NS, near.Addr}}
	rr, mbps := map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, p := range paths {
			rr[p.name] = append(rr[p.name], requestMicroseconds(b, p.from, p.to, requests))
			mbps[p.name] = append(mbps[p.name], throughput(b, p.from, p.to, megabytes))
		}
	}
	for _, p := range paths {
		b.ReportMetric(median(rr[p.name]), p.name+"-µs")
		b.ReportMetric(median(mbps[p.name]), p.name+"-Mbit/s")
		b.Logf("%s: request and answer p50 %.1f µs (%.1f to %.1f); throughput %.0f Mbit/s (%.0f to %.0f), there and back", p.name,
			median(rr[p.name]), slices.Min(rr[p.name]), slices.Max(rr[p.name]), median(mbps[p.name]), slices.Min(mbps[p.name]), slices.Max(mbps[p.name]))
	}
	b.ReportMetric(median(rr["overlay"])/median(rr["raw"]), "rr-overlay/raw")
	b.ReportMetric(median(mbps["overlay"])/median(mbps["raw"]), "tp-overlay/raw")
	b.ReportMetric(0, "ns/op")
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// rawVxlan is two further hosts with a container each, joined as flannel does,
// with ip and nothing else.
func rawVxlan(b *testing.B, w *hosts.World) (from *netns.Namespace, to netip.Addr) {
	b.Helper()
	var containers []*netns.Namespace
	for i := range 2 {
		h := w.AddHost(string(rune('x'+i)), netip.AddrFrom4([4]byte{192, 0, 2, byte(101 + i)}))
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
			fmt.Sprintf("link add vx0 address 02:aa:00:00:00:%02d type vxlan id 5 dstport 8472 local 192.0.2.%d dev eth0 nolearning", mine, 100+mine), "link set vx0 mtu 1450 up",
			fmt.Sprintf("neigh add 10.200.%d.0 lladdr 02:aa:00:00:00:%02d dev vx0 nud permanent", other, other),
			fmt.Sprintf("route add 10.200.%d.0/24 via 10.200.%d.0 dev vx0 onlink", other, other),
		} {
			if err := h.NS.Run("ip", strings.Fields(line)...); err != nil {
				b.Fatal(err)
			}
		}
		for _, err := range []error{
			h.NS.Run("bridge", "fdb", "add", fmt.Sprintf("02:aa:00:00:00:%02d", other), "dev", "vx0", "dst", fmt.Sprintf("192.0.2.%d", 100+other)),
			h.NS.Run("sysctl", "-qw", "net.ipv4.ip_forward=1"),
			c.Run("ip", "addr", "add", fmt.Sprintf("10.200.%d.2/24", mine), "dev", "eth0"), c.Run("ip", "link", "set", "eth0", "mtu", "1450", "up"),
			c.Run("ip", "route", "add", "default", "via", fmt.Sprintf("10.200.%d.1", mine)),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	to = netip.MustParseAddr("10.200.2.2")
	if err := containers[1].Do(func() error { return serveEcho(b, to) }); err != nil {
		b.Fatal(err)
	}
	return containers[0], to
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

func requestMicroseconds(b *testing.B, from *netns.Namespace, to netip.Addr, n int) float64 {
	conn := dial(b, from, to)
	defer conn.Close()
	var all []float64
	for range n {
		start := time.Now()
		if err := hosts.Echo(conn, hosts.Patience); err != nil {
			b.Fatal(err)
		}
		all = append(all, float64(time.Since(start).Nanoseconds())/1000)
	}
	return median(all)
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

// BenchmarkManyPeers starts overlayd with many other hosts in its peers file:
// from the start of the process to the first complete pass, again with nothing
// changed, and its memory.
func BenchmarkManyPeers(b *testing.B) {
	rounds, _, _, peers := numbers()
	var first, again, rss []float64
	for range rounds {
		w := hosts.New(b, binaries, 1)
		h := w.Hosts[0]
		w.WritePeers(manyPeers(h.Addr, peers))
		start := time.Now()
		h.Start("--peers", h.PeersFile(), "--log-level", "warn")
		h.Ready(peers)
		first = append(first, float64(time.Since(start).Microseconds())/1000)
		rss = append(rss, residentMegabytes(b, h.PID()))
		h.Stop()
		start = time.Now()
		h.Start("--peers", h.PeersFile(), "--log-level", "warn")
		s := h.Await("ready again", func(s control.Status) bool { return s.Ready && len(s.Peers) == peers })
		again = append(again, float64(time.Since(start).Microseconds())/1000)
		if s.Passes.Writes != 0 {
			b.Errorf("%d writes with nothing changed", s.Passes.Writes)
		}
		h.Stop()
	}
	b.ReportMetric(median(first), "start-ms")
	b.ReportMetric(median(again), "restart-ms")
	b.ReportMetric(median(rss), "RSS-MB")
	b.ReportMetric(0, "ns/op")
}

func manyPeers(self netip.Addr, n int) static.File {
	f := static.File{Networks: []static.Network{{Name: "blue", Ranges: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12")}}}}
	for i := range n + 1 {
		vtep := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) // RFC 2544: nobody there
		if i == 0 {
			vtep = self
		}
		f.Peers = append(f.Peers, static.Peer{Name: fmt.Sprintf("host-%04d", i), VTEP: vtep,
			Pools: map[string][]netip.Prefix{"blue": {netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + byte(i>>8), byte(i), 0}), 24)}}})
	}
	return f
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
