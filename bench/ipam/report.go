package main

import (
	"fmt"

	"github.com/netctl/netctl/bench/page"
)

// targets are the specification's.
func targets(all []pool, results results) []page.Target {
	var empty, full *times
	var peer float64
	fullest := pool{}
	for _, p := range all {
		if p.subnet.Bits() != 16 {
			continue
		}
		if p.reserved == 0 {
			empty = results[p][inProcess]
		} else if p.reserved >= fullest.reserved {
			fullest, full, peer = p, results[p][inProcess], percentile(results[p][referenceHost].allocate, 50)
		}
	}
	return []page.Target{
		{What: fmt.Sprintf("allocation in process, %s / empty", fullest), Limit: 1.5,
			Measured: percentile(full.allocate, 50) / percentile(empty.allocate, 50)},
		{What: fmt.Sprintf("allocation in process, %s / the reference host-local's", fullest), Limit: 0.05,
			Measured: percentile(full.allocate, 50) / peer},
	}
}

func table(all []pool, results results) [][]string {
	rows := [][]string{append([]string{"pool"}, columns()...)}
	for _, p := range all {
		row := []string{p.String()}
		for _, column := range columns() {
			t := results[p][column]
			row = append(row, fmt.Sprintf("%.3g / %.3g [%.3g]", percentile(t.allocate, 50), percentile(t.release, 50), percentile(t.allocate, 90)))
		}
		rows = append(rows, row)
	}
	return rows
}

// curves are over the /16, which every store has at several fillings.
func curves(all []pool, results results) []page.Line {
	var lines []page.Line
	for _, name := range names() {
		l := page.Line{Name: name}
		for _, p := range all {
			if p.subnet.Bits() == 16 {
				l.Points = append(l.Points, page.Point{X: float64(p.reserved), Y: percentile(results[p][name].allocate, 50)})
			}
		}
		lines = append(lines, l)
	}
	return lines
}
