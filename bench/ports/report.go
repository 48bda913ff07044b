package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/netctl/netctl/bench/page"
)

// report prints what was found and writes it into the page.
func report(o options, points []point, all []rates) error {
	s := page.New("ports")
	s.Printf("`%s` (%s). The chained portmap plugin alone, beside the reference portmap, each with both mechanisms:", o.command, page.Machine())
	s.Printf("milliseconds from the start of the program to its end, p50 [p10..p90], %d calls each, interleaved. \"Own\" is what ports add", o.rounds)
	s.Printf("to the median of calls without any; \"x\" is the reference's own share with iptables, divided by this one.")
	s.Printf("\n### Targets")
	s.Targets(targets(points, all))
	for _, verb := range []string{"ADD", "DEL"} {
		s.Printf("### %s", verb)
		s.Table(callTable(points, verb))
	}
	if len(all) > 0 {
		s.Printf("### New TCP connections per second, in thousands, through the last of %d published ports", all[0].published)
		s.Table(rateTable(all))
	}
	fmt.Fprint(os.Stdout, s)
	if o.page == "" {
		return nil
	}
	return s.Write(o.page)
}

func (r row) of(verb string) calls {
	if verb == "ADD" {
		return r.add
	}
	return r.del
}

// callTable has a row per point and a column per implementation.
func callTable(points []point, verb string) [][]string {
	rows := [][]string{{"attached", "ports"}}
	for _, r := range points[0].rows {
		rows[0] = append(rows[0], r.name)
	}
	for _, p := range points {
		line := []string{fmt.Sprint(p.attached), fmt.Sprint(p.ports)}
		base := p.rows[0].of(verb).own()
		for _, r := range p.rows {
			c := r.of(verb)
			line = append(line, fmt.Sprintf("%s, own %.1f, %.1f x", spread(c.ports, ms), ms(c.own()), float64(base)/float64(c.own())))
		}
		rows = append(rows, line)
	}
	return rows
}

func rateTable(all []rates) [][]string {
	rows := [][]string{{"", "through the only port", "through the last", "container's own address", "last / only", "last / own address"}}
	for _, r := range all {
		rows = append(rows, []string{r.name, spread(r.only.rates, thousands), spread(r.last.rates, thousands), spread(r.direct.rates, thousands),
			fmt.Sprintf("%.2f", ratio(r.last.rates, r.only.rates)), fmt.Sprintf("%.2f", ratio(r.last.rates, r.direct.rates))})
	}
	return rows
}

// The places of our implementations among the rows; the reference's with
// iptables is the first.
const (
	oursIPTables = 2
	oursNFTables = 3
)

// targets are the specification's.
func targets(points []point, all []rates) []page.Target {
	worst := page.Target{Limit: 5, AtLeast: true, Unit: " x"}
	var grown []page.Target
	for _, verb := range []string{"ADD", "DEL"} {
		for _, p := range points {
			faster := float64(p.rows[0].of(verb).own()) / float64(p.rows[oursIPTables].of(verb).own())
			if worst.Measured == 0 || faster < worst.Measured {
				worst.Measured = faster
				worst.What = fmt.Sprintf("iptables: the reference's own share / ours, at the worst point (%s, %d published, %d attached)", verb, p.ports, p.attached)
			}
		}
		for _, ports := range portsOf(points) {
			first, last := ofPorts(points, ports)
			grown = append(grown, page.Target{
				What:  fmt.Sprintf("nftables: own share of %s, %d published, from %d to %d attached", verb, ports, first.attached, last.attached),
				Limit: 0.5, Unit: " ms more", Measured: ms(last.rows[oursNFTables].of(verb).own() - first.rows[oursNFTables].of(verb).own()),
			})
		}
	}
	list := append([]page.Target{worst}, grown...)
	for i, r := range all {
		if i >= oursIPTables {
			list = append(list, page.Target{What: fmt.Sprintf("%s: connections through the last of %d ports / through the only one", r.name, r.published),
				Limit: 0.95, AtLeast: true, Measured: ratio(r.last.rates, r.only.rates)})
		}
	}
	return list
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
