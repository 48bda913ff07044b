package overlay

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/bench/page"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

var benchPage = flag.String("overlay.page", "", "write the tables into this page")

// small is for a look whether it works.
func small() bool { return os.Getenv("OVERLAY_BENCH") == "small" }

// numbers are how often each is measured, and of the other hosts.
func numbers() (rounds, peers int) {
	if small() {
		return 3, 100
	}
	return 11, 1000
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

// spread is the median, with the least and the most.
func spread(all []float64) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", median(all), slices.Min(all), slices.Max(all))
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// manyPeers has a host join an etcd with many others in it: from the start of
// the process until it has claimed a pool and reaches everybody; again with
// nothing changed, when the kernel must hear of nothing; memory; and what etcd
// was asked.
func manyPeers(b *testing.B, section *page.Section) []page.Target {
	rounds, peers := numbers()
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
	rounds, _ := numbers()
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
