package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report prints a row per implementation; ratios are of medians, to the first
// row, which is the reference.
func report(w io.Writer, worlds []*world, rounds, attached int) {
	fmt.Fprintf(w, "bridge, masquerade, one published port; %d containers attached; n=%d, interleaved\n", attached, rounds)
	fmt.Fprintf(w, "%-22s %-30s %-8s %-30s %-8s\n", "", "ADD ms p50 [p10..p90] cpu", "ratio", "DEL ms p50 [p10..p90] cpu", "ratio")
	baseAdd, baseDel := median(worlds[0].adds), median(worlds[0].dels)
	for _, world := range worlds {
		fmt.Fprintf(w, "%-22s %-30s %-8s %-30s %-8s\n", world.name,
			cell(world.adds), ratio(median(world.adds), baseAdd),
			cell(world.dels), ratio(median(world.dels), baseDel))
	}
}

func cell(costs []cost) string {
	wall, cpu := sorted(costs, func(c cost) time.Duration { return c.wall }), sorted(costs, func(c cost) time.Duration { return c.cpu })
	return fmt.Sprintf("%.1f [%.1f..%.1f] %.1f", ms(at(wall, 50)), ms(at(wall, 10)), ms(at(wall, 90)), ms(at(cpu, 50)))
}

func ratio(d, base time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/float64(base)) }

func median(costs []cost) time.Duration {
	return at(sorted(costs, func(c cost) time.Duration { return c.wall }), 50)
}

func sorted(costs []cost, of func(cost) time.Duration) []time.Duration {
	values := make([]time.Duration, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	slices.Sort(values)
	return values
}

// at gives a percentile of sorted values.
func at(values []time.Duration, percent int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	return values[(len(values)-1)*percent/100]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
