package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/netctl/netctl/bench/page"
)

// report prints what was found and writes it into the page.
func report(o options, worlds []*world) error {
	s := page.New("attach")
	s.Printf("## ADD and DEL")
	s.Printf("")
	s.Printf("`%s` (%s). Milliseconds from the start of the first process to the end of the last one;", o.command, page.Machine())
	s.Printf("cpu includes what goes on after the return. %d operations each with nothing else attached, interleaved.", o.rounds)
	s.Printf("\n### Targets")
	s.Targets(targets(o, worlds))
	for _, group := range groups(worlds) {
		s.Printf("### One at a time: %s", group[0].group)
		s.Table(sequential(group))
	}
	taking := slices.DeleteFunc(slices.Clone(worlds), func(w *world) bool { return !w.kinds.levels })
	if len(o.levels) > 1 && len(taking) > 0 {
		s.Printf("### Beside containers that are attached already (p50 [p10..p90])")
		for _, verb := range []string{"ADD", "DEL"} {
			s.Table(byLevel(taking, verb, o.levels))
			s.Plot(verb, verb+" beside attached containers", page.Lines(verb+", median", "containers attached", "ms", curves(taking, verb)))
		}
	}
	if len(o.parallel) > 0 {
		s.Printf("### In parallel: operations per second until all have returned")
		s.Printf("")
		s.Printf("Medians of %d batches [least..most], one of each implementation after the other; in parentheses until nothing is at work any more.", o.batches)
		s.Table(byParallel(worlds, o.parallel))
	}
	fmt.Fprint(os.Stdout, s)
	if o.page == "" {
		return nil
	}
	return s.Write(o.page)
}

// groups puts those that do the same job together, in the order of worlds.
func groups(worlds []*world) [][]*world {
	var result [][]*world
	for _, w := range worlds {
		i := slices.IndexFunc(result, func(g []*world) bool { return g[0].group == w.group })
		if i < 0 {
			result = append(result, nil)
			i = len(result) - 1
		}
		result[i] = append(result[i], w)
	}
	return result
}

func sequential(group []*world) [][]string {
	rows := [][]string{{"", "ADD p50", "p90", "p99", "cpu", "programs", "to the first", "DEL p50", "p90", "p99", "cpu", "programs", "to the first"}}
	for _, w := range group {
		row := []string{w.name}
		for _, verb := range []string{"ADD", "DEL"} {
			costs, base := w.find(verb, 0), group[0].find(verb, 0)
			programs := "-"
			if n := w.processes[verb]; n > 0 {
				programs = fmt.Sprint(n)
			}
			row = append(row, ms(median(costs)), ms(percentile(costs, wall, 90)), ms(percentile(costs, wall, 99)),
				ms(percentile(costs, cpu, 50)), programs, fmt.Sprintf("%.3f", median(costs)/median(base)))
		}
		rows = append(rows, row)
	}
	return rows
}

func byLevel(worlds []*world, verb string, levels []int) [][]string {
	head := []string{verb}
	for _, level := range levels {
		head = append(head, fmt.Sprint(level))
	}
	rows := [][]string{head}
	for _, w := range worlds {
		row := []string{w.name}
		for _, level := range levels {
			costs := w.find(verb, level)
			row = append(row, fmt.Sprintf("%s [%s..%s]", ms(median(costs)), ms(percentile(costs, wall, 10)), ms(percentile(costs, wall, 90))))
		}
		rows = append(rows, row)
	}
	return rows
}

func curves(worlds []*world, verb string) []page.Line {
	var lines []page.Line
	for _, w := range worlds {
		l := page.Line{Name: w.name}
		for _, s := range w.series {
			if s.verb == verb {
				l.Points = append(l.Points, page.Point{X: float64(s.level), Y: median(s.costs)})
			}
		}
		lines = append(lines, l)
	}
	return lines
}

func byParallel(worlds []*world, parallel []int) [][]string {
	head := []string{""}
	for _, verb := range []string{"ADD", "DEL"} {
		for _, p := range parallel {
			head = append(head, fmt.Sprintf("%s x%d", verb, p))
		}
	}
	rows := [][]string{head}
	for _, w := range worlds {
		if len(w.rates) == 0 {
			continue
		}
		row := []string{w.name}
		for _, verb := range []string{"ADD", "DEL"} {
			for _, p := range parallel {
				r := w.rate(verb, p)
				row = append(row, fmt.Sprintf("%.0f [%.0f..%.0f] (%.0f)", middle(r.returned), slices.Min(r.returned), slices.Max(r.returned), middle(r.settled)))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
