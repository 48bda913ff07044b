package overlay

import (
	"context"
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

// crowds are how often it is measured, and with how many others.
func crowds() (rounds int, sizes []int) {
	if small() {
		return 2, []int{10, 100}
	}
	return 7, []int{100, 1000}
}

// BenchmarkPeers measures what the specification has targets for where there are
// many hosts, and writes it down.
func BenchmarkPeers(b *testing.B) {
	section := page.New("overlay-peers")
	rounds, sizes := crowds()
	rows := [][]string{{"others in etcd", "join, ms", "floor, ms", "of floor", "ready again, ms", "resident, MB", "calls to join", "calls to start again", "announced"}}
	var targets []page.Target
	for _, size := range sizes {
		c := newCrowd(b, size)
		for range rounds {
			c.round(b)
		}
		rows = append(rows, c.row())
		targets = append(targets, c.targets()...)
	}
	section.Printf("Joining is from the start of overlayd until it has a pool and reaches everybody. The floor, measured in turn with it, is what no program " +
		"can do without: everything read from etcd by a bare client that decodes nothing, and three netlink requests for each peer by `ip` and `bridge -batch`. " +
		"Ready again is a start with nothing changed, after which the kernel announced so many changes.")
	section.Table(rows)
	startTimes(b, section)
	writeDown(b, section, targets)
}

// A crowd is an etcd with many hosts in it that exist nowhere else, and what was
// measured of those that come.
type crowd struct {
	size                                          int
	world                                         *hosts.World
	etcd                                          *hosts.Etcd
	come                                          int
	joins, floors, again, resident, calls, recall []float64
	announced                                     int
}

func newCrowd(b *testing.B, size int) *crowd {
	c := &crowd{size: size, world: hosts.New(b, binaries, 0)}
	c.etcd = c.world.StartEtcd()
	c.etcd.Populate("blue", netip.MustParsePrefix("10.64.0.0/12"), size)
	return c
}

func (c *crowd) host() *hosts.Host {
	c.come++
	return c.world.AddHost(fmt.Sprintf("new%d", c.come), netip.AddrFrom4([4]byte{192, 0, 2, byte(c.come)}))
}

// round has one host join, leave and come again, and measures the floor.
func (c *crowd) round(b *testing.B) {
	c.floors = append(c.floors, c.floor(b))
	h := c.host()
	h.UseEtcd()
	before, start := c.etcd.Calls(), time.Now()
	h.StartWithEtcd("--log-level", "warn")
	awaitDefinition(b, h, "blue")
	c.joins = append(c.joins, milliseconds(start))
	c.calls = append(c.calls, float64(c.callsSince(before)))
	peers := len(h.Await("ready", func(s control.Status) bool { return s.Ready && len(s.Peers) >= c.size }).Peers)
	awaitQuiet(b, h)
	c.resident = append(c.resident, residentMegabytes(b, h.PID()))
	monitor, err := hosts.Listen(h.NS)
	if err != nil {
		b.Fatal(err)
	}
	defer monitor.Close()
	if _, err := monitor.Heard(); err != nil {
		b.Fatal(err)
	}
	h.Stop()
	before, start = c.etcd.Calls(), time.Now()
	h.StartWithEtcd()
	since := len(h.Log())
	for deadline := time.Now().Add(hosts.Patience); !strings.Contains(h.Log()[since:], "msg=ready"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("not ready again:\n%s", h.Log())
		}
	}
	c.again = append(c.again, milliseconds(start))
	c.recall = append(c.recall, float64(c.callsSince(before)))
	h.Await("as before", func(s control.Status) bool { return s.Ready && len(s.Peers) == peers })
	heard, err := monitor.Heard()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range heard {
		c.announced += n
	}
	// It stays among the others, so that the next one finds one more.
	h.Stop()
}

// callsSince is how often etcd was asked.
func (c *crowd) callsSince(before map[string]int) int {
	total := 0
	for method, n := range c.etcd.Calls() {
		total += n - before[method]
	}
	return total
}

// floor reads everything and programs the kernel, on a host of its own. The
// tunnel is there before.
func (c *crowd) floor(b *testing.B) float64 {
	h := c.host()
	fdb, rest := filepath.Join(h.Root, "fdb"), filepath.Join(h.Root, "rest")
	var entries, others strings.Builder
	for i := range c.size {
		mac, next := fmt.Sprintf("02:56:c6:12:%02x:%02x", i>>8, i&255), fmt.Sprintf("fe80::56:c6ff:fe12:%x", i)
		fmt.Fprintf(&entries, "fdb replace %s dev vx0 dst 198.18.%d.%d self permanent\n", mac, i>>8, i&255)
		fmt.Fprintf(&others, "neigh replace %s lladdr %s dev vx0 nud permanent\n", next, mac)
		fmt.Fprintf(&others, "route replace 10.%d.%d.0/24 via inet6 %s dev vx0 onlink metric %d proto 86\n", 64+i>>8, i&255, next, 1+i)
	}
	for _, err := range []error{
		os.WriteFile(fdb, []byte(entries.String()), 0o600), os.WriteFile(rest, []byte(others.String()), 0o600),
		h.NS.Run("ip", strings.Fields("link add vx0 type vxlan id 1 dstport 4789 local "+h.Addr.String()+" nolearning")...),
		h.NS.Run("ip", "link", "set", "vx0", "up"),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	if err := c.etcd.ReadAll(context.Background()); err != nil {
		b.Fatal(err)
	}
	for _, err := range []error{h.NS.Run("bridge", "-batch", fdb), h.NS.Run("ip", "-batch", rest)} {
		if err != nil {
			b.Fatal(err)
		}
	}
	return milliseconds(start)
}

func (c *crowd) row() []string {
	return []string{fmt.Sprint(c.size), spread(c.joins), spread(c.floors), fmt.Sprintf("%.2f", median(c.joins)/median(c.floors)), spread(c.again),
		spread(c.resident), fmt.Sprint(median(c.calls)), fmt.Sprint(median(c.recall)), fmt.Sprint(c.announced)}
}

func (c *crowd) targets() []page.Target {
	with := fmt.Sprintf(" with %d others", c.size)
	return []page.Target{
		{What: "3: join" + with, Limit: 60, Unit: " ms", Measured: median(c.joins)},
		{What: "5: resident memory" + with, Limit: 30, Unit: " MB", Measured: median(c.resident)},
		{What: "6: calls to the store to join" + with, Limit: 5, Measured: slices.Max(c.calls)},
		{What: "7: changes announced after a start with nothing changed" + with, Limit: 0, Measured: float64(c.announced)},
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
func startTimes(b *testing.B, section *page.Section) {
	rounds, _ := crowds()
	var usable, answer, fourth []float64
	for range rounds {
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
