package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// reportCalls prints a row per implementation and point. Ratios are to the
// reference with iptables.
func reportCalls(w io.Writer, points []point) {
	fmt.Fprintf(w, "portmap alone, p50 ms [p10..p90]; \"own\" is what ports add to a call without any; n=%d, interleaved\n", len(points[0].rows[0].adds))
	const format = "%8v %5v  %-21s %-24s %6s %7s  %-24s %6s %7s\n"
	fmt.Fprintf(w, format, "attached", "ports", "", "ADD", "own", "ratio", "DEL", "own", "ratio")
	for _, p := range points {
		for _, r := range p.rows {
			idle := median(r.idle)
			fmt.Fprintf(w, format, p.attached, p.ports, r.name,
				spread(r.adds, ms), fmt.Sprintf("%.1f", ms(median(r.adds)-idle)), fmt.Sprintf("%.3f", ratio(r.adds, p.rows[0].adds)),
				spread(r.dels, ms), fmt.Sprintf("%.1f", ms(median(r.dels)-idle)), fmt.Sprintf("%.3f", ratio(r.dels, p.rows[0].dels)))
		}
	}
}

func reportRates(w io.Writer, all []rates) {
	fmt.Fprintf(w, "\nnew TCP connections per second, thousands, p50 [p10..p90]; last of %d published ports; n=%d, interleaved\n",
		all[0].published, len(all[0].only.rates))
	const format = "%-21s %-22s %-22s %-22s %10s %12s\n"
	fmt.Fprintf(w, format, "", "through the only port", "through the last", "container, direct", "last/only", "last/direct")
	for _, r := range all {
		fmt.Fprintf(w, format, r.name, spread(r.only.rates, thousands), spread(r.last.rates, thousands), spread(r.direct.rates, thousands),
			fmt.Sprintf("%.2f", ratio(r.last.rates, r.only.rates)), fmt.Sprintf("%.2f", ratio(r.last.rates, r.direct.rates)))
	}
}

// reportTargets says which of the targets were reached.
func reportTargets(w io.Writer, points []point, all []rates) {
	fmt.Fprintln(w)
	verdict := func(met bool, format string, args ...any) {
		word := "missed"
		if met {
			word = "met"
		}
		fmt.Fprintf(w, "%-7s %s\n", word, fmt.Sprintf(format, args...))
	}
	worst, where := 0.0, point{}
	for _, p := range points {
		base, ours := p.rows[0], p.rows[2]
		for _, share := range []float64{
			float64(own(ours.adds, ours.idle)) / float64(own(base.adds, base.idle)),
			float64(own(ours.dels, ours.idle)) / float64(own(base.dels, base.idle)),
		} {
			if share > worst {
				worst, where = share, p
			}
		}
	}
	verdict(worst <= 0.2, "iptables: own share at least 5 x less than the reference's at every point: the worst is %.1f x, with %d ports beside %d",
		1/worst, where.ports, where.attached)
	for _, ports := range portsOf(points) {
		first, last := ofPorts(points, ports)
		add := ms(own(last.rows[3].adds, last.rows[3].idle)) - ms(own(first.rows[3].adds, first.rows[3].idle))
		del := ms(own(last.rows[3].dels, last.rows[3].idle)) - ms(own(first.rows[3].dels, first.rows[3].idle))
		verdict(add < 1 && del < 1, "nftables' own share does not grow: %d ports, %d -> %d attached: ADD %+.1f ms, DEL %+.1f ms", ports, first.attached, last.attached, add, del)
	}
	for _, r := range all[2:] {
		flat := ratio(r.last.rates, r.only.rates)
		verdict(flat >= 0.95, "%s: the last of %d ports at least 0.95 x the only one: %.2f", r.name, r.published, flat)
	}
}

func portsOf(points []point) (all []int) {
	for _, p := range points {
		if !slices.Contains(all, p.ports) {
			all = append(all, p.ports)
		}
	}
	return all
}

// ofPorts are the first and the last point with so many ports.
func ofPorts(points []point, ports int) (first, last point) {
	mine := slices.DeleteFunc(slices.Clone(points), func(p point) bool { return p.ports != ports })
	return mine[0], mine[len(mine)-1]
}

func own(calls, idle []time.Duration) time.Duration { return median(calls) - median(idle) }

// measured is what has a median.
type measured interface{ ~int64 | ~float64 }

func spread[T measured](values []T, in func(T) float64) string {
	return fmt.Sprintf("%.1f [%.1f..%.1f]", in(percentile(values, 50)), in(percentile(values, 10)), in(percentile(values, 90)))
}

func ratio[T measured](values, base []T) float64 {
	return float64(median(values)) / float64(median(base))
}

func median[T measured](values []T) T { return percentile(values, 50) }

func percentile[T measured](values []T, percent int) T {
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[T])
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func thousands(rate float64) float64 { return rate / 1000 }
