package dnsd

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// writePage replaces a measured section of docs/dns.md, if that is wanted.
func writePage(t testing.TB, section, text string) {
	t.Helper()
	if *peerPage == "" {
		return
	}
	page, err := os.ReadFile(*peerPage)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- measured: "+section+" -->\n", "<!-- end -->"
	head, rest, found := strings.Cut(string(page), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for %q", *peerPage, section)
	}
	if err := os.WriteFile(*peerPage, []byte(head+begin+"\n"+text+"\n"+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// machine is what the figures were measured on.
func machine() string {
	processor, kernel := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); m != nil {
			processor = strings.TrimSpace(string(m[1]))
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	load, _ := os.ReadFile("/proc/loadavg")
	busy, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%s, Linux %s, load %s when it ended, on %s; %d rounds of %s.",
		processor, kernel, busy, time.Now().Format("2006-01-02"), *peerRounds, *peerTime)
}

// spread are the median, the least and the most of a list.
type spread struct{ median, least, most float64 }

func spreadOf(results []result, of func(result) float64) spread {
	var list []float64
	for _, r := range results {
		list = append(list, of(r))
	}
	if len(list) == 0 {
		return spread{}
	}
	slices.Sort(list)
	return spread{list[len(list)/2], list[0], list[len(list)-1]}
}

// costTable is what BenchmarkPeers found, for people.
func costTable(rows []string, all map[string]map[string][]result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nProcessor time of the server for each query, median (least to most), and queries per second.\n\n", machine())
	b.WriteString("| | dnsd | dnsmasq | floor | dnsd / dnsmasq | dnsd / floor |\n|---|---|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		cpu := map[string]float64{}
		for _, p := range peers() {
			results := all[row][p.name]
			if len(results) == 0 {
				b.WriteString(" |")
				continue
			}
			c, rate := spreadOf(results, result.cost), spreadOf(results, result.rate)
			cpu[p.name] = c.median
			fmt.Fprintf(&b, " %.2f (%.2f to %.2f) µs, %.0f/s |", c.median, c.least, c.most, rate.median)
		}
		for _, other := range []string{"dnsmasq", "floor"} {
			if cpu[other] > 0 {
				fmt.Fprintf(&b, " %.2f |", cpu["dnsd"]/cpu[other])
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r result) cost() float64 { return r.cpu }
func (r result) rate() float64 { return r.perSecond }
