package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/netctl/netctl/bench/page"
)

// figures are what a run found.
type figures struct {
	subjects []*subject
	memory   []int64 // bytes, of a monitor without and with a network
	left     int     // traces
}

// report prints the tables, writes them into the page, and fails if a target of the
// specification is missed.
func report(o options, f figures) error {
	s := page.New("run")
	s.Printf("## A whole container")
	s.Printf("")
	s.Printf("`make bench-run` (%s). Start `/bin/true` of busybox, wait for its end, take everything away; %d rounds, interleaved.", page.Machine(), o.rounds)
	s.Printf("runc and crun have netctl's own specification of the container (filter, limits) and make neither network nor layers; podman runs the")
	s.Printf("same directory with runc. What belongs to a boot is on a tmpfs for all, as /run is. cpu is that of all processes, also of those that the command did not wait for")
	s.Printf("(podman's conmon, the end of netctl's monitor): these have %d ms to end before the next turn.", pause.Milliseconds())
	s.Table(f.rows())
	targets := f.targets(o)
	s.Targets(targets)
	fmt.Fprint(os.Stdout, s)
	if o.page != "" {
		if err := s.Write(o.page); err != nil {
			return err
		}
	}
	for _, t := range targets {
		if !t.Met() {
			return fmt.Errorf("a target was missed")
		}
	}
	return nil
}

func (f figures) rows() [][]string {
	rows := [][]string{{"ms", "min", "p50", "p90", "cpu", "p50 / runc's"}}
	for _, s := range f.subjects {
		if s.missing != "" {
			rows = append(rows, []string{s.name, "not measured: " + s.missing, "", "", "", ""})
			continue
		}
		toRunc, _ := f.ratio(s.name, "runc run")
		rows = append(rows, []string{s.name, millis(s.at(0)), millis(s.at(0.5)), millis(s.at(0.9)),
			millis(s.cpu / time.Duration(len(s.took))), strconv.FormatFloat(toRunc, 'f', 2, 64)})
	}
	return rows
}

func (f figures) targets(o options) []page.Target {
	compared := func(firewall, to string, limit float64) page.Target {
		r, ok := f.ratio("netctl bridge, "+firewall, to)
		return page.Target{What: "netctl bridge, " + firewall + " / " + to + ", p50", Measured: r, Limit: limit, Missing: !ok}
	}
	return []page.Target{
		compared(iptables, "runc run", 1.3), compared(nftables, "runc run", 1.3),
		compared(iptables, "podman bridge", 0.4), compared(nftables, "podman bridge", 0.4),
		{What: "a monitor's private memory, no network", Measured: float64(f.memory[0]) / 1e6, Limit: 3, Unit: " MB"},
		{What: "a monitor's private memory, bridge", Measured: float64(f.memory[1]) / 1e6, Limit: 3, Unit: " MB"},
		{What: fmt.Sprintf("traces left by %d starts and removals", o.many), Measured: float64(f.left)},
	}
}

// ratio of two medians, if both were measured.
func (f figures) ratio(name, to string) (float64, bool) {
	var a, b time.Duration
	for _, s := range f.subjects {
		if s.name == name {
			a = s.at(0.5)
		}
		if s.name == to {
			b = s.at(0.5)
		}
	}
	if a == 0 || b == 0 {
		return 0, false
	}
	return float64(a) / float64(b), true
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}
