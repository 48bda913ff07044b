package overlay

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/netctl/netctl/bench/page"
	"github.com/netctl/netctl/test/hosts"
)

// BenchmarkNames measures row 28: how long after a container's start another
// host's resolver knows its name, how long after its end it does not, and how
// long after the death of its host. It writes that down.
func BenchmarkNames(b *testing.B) {
	section := page.New("overlay-names")
	rows := [][]string{{"store", "known after a start, ms: median (least to most)", "gone after an end, ms", "gone after the host's death, s"}}
	var targets []page.Target
	for _, kind := range []string{"etcd", "peers file"} {
		known, gone, died := namesWith(b, kind)
		rows = append(rows, []string{kind, spread(known), spread(gone), spread(died)})
		targets = append(targets,
			page.Target{What: "28: known after a start, at most, " + kind, Limit: 100, Unit: " ms", Measured: slices.Max(known)},
			page.Target{What: "28: gone after the host's death, " + kind, Limit: 35, Unit: " s", Measured: slices.Max(died)})
	}
	section.Printf("A container with a name is started on one host, and one of another host asks its resolver every millisecond. The time begins when the start " +
		"has returned. A host that dies is killed and cut off; its session lives for 30 s.")
	section.Table(rows)
	writeDown(b, section, targets)
}

// namesWith measures on a world of its own: hosts that come and go beside the
// one that asks.
func namesWith(b *testing.B, kind string) (known, gone, died []float64) {
	starts := 40
	if small() {
		starts = 3
	}
	w := hosts.New(b, binaries, 4)
	if kind == "etcd" {
		w.StartEtcd()
	} else {
		w.WritePeers(w.Peers())
	}
	for _, h := range w.Hosts {
		if kind == "etcd" {
			h.StartWithEtcd()
		} else {
			h.Start("--peers", h.PeersFile())
		}
	}
	for _, h := range w.Hosts {
		h.Ready(len(w.Hosts) - 1)
	}
	if kind == "etcd" {
		w.Hosts[0].CreateNetwork("blue", "10.100.0.0/20")
	}
	var last []*hosts.Container // of each host
	for i, h := range w.Hosts {
		awaitUsable(h, "blue", len(w.Hosts))
		last = append(last, h.Add("blue", fmt.Sprintf("last%d", i)))
	}
	asks := last[0]
	await := func(name, want string) float64 {
		took, err := asks.AwaitName(context.Background(), name, want, 2*hosts.Patience)
		if err != nil {
			b.Fatal(err)
		}
		return float64(took.Microseconds()) / 1000
	}
	for i := range last[1:] { // everybody follows everybody by now
		await(fmt.Sprintf("last%d", i+1), last[i+1].Addr.String())
	}
	for i := range starts {
		name, h := fmt.Sprintf("new%d", i), w.Hosts[1+i%3]
		c := h.Add("blue", name)
		known = append(known, await(name, c.Addr.String()))
		if err := c.Del(); err != nil {
			b.Fatal(err)
		}
		gone = append(gone, await(name, ""))
	}
	start := time.Now()
	for _, h := range w.Hosts[1:] {
		h.Kill()
		if err := h.Cut(); err != nil {
			b.Fatal(err)
		}
	}
	for i := range last[1:] {
		await(fmt.Sprintf("last%d", i+1), "")
		died = append(died, time.Since(start).Seconds())
	}
	return known, gone, died
}
