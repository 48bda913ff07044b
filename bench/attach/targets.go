package main

import (
	"fmt"
	"slices"

	"github.com/netctl/netctl/bench/page"
)

// found gives medians and rates by the implementations' names.
type found map[string]*world

// targets are the specification's, with what this run measured.
func targets(o options, worlds []*world) []page.Target {
	f := found{}
	for _, w := range worlds {
		f[w.name] = w
	}
	list := []page.Target{
		f.ratio(oursNftables, refIptables, "ADD", 0, 0.10), f.ratio(oursNftables, refIptables, "DEL", 0, 0.05),
		f.ratio(oursNftables, netavark14, "ADD", 0, 0.12), f.ratio(oursNftables, netavark14, "DEL", 0, 0.08),
		f.ratio(oursIptables, refIptables, "ADD", 0, 0.20), f.ratio(oursIptables, refIptables, "DEL", 0, 0.15),
		f.above(oursNftables, 4),
	}
	if top := slices.Max(append(o.levels, 0)); top > 0 {
		list = append(list, f.growth("ADD", top), f.growth("DEL", top), f.ratio(oursNftables, refIptables, "ADD", top, 0.06))
	}
	if len(o.parallel) > 0 {
		most := slices.Max(o.parallel)
		list = append(list, f.throughput("ADD", most, 12), f.throughput("DEL", most, 10))
	}
	return append(list,
		f.ratio(inProcess, floorName, "ADD", 0, 2.5),
		f.ratio("netctl macvlan", "reference macvlan", "ADD", 0, 0.5),
		f.ratio("netctl loopback", "reference loopback", "ADD", 0, 1.0),
	)
}

// median is that of an implementation's verb at a level, in milliseconds.
func (f found) median(name, verb string, level int) (float64, bool) {
	w, ok := f[name]
	if !ok || len(w.find(verb, level)) == 0 {
		return 0, false
	}
	return median(w.find(verb, level)), true
}

func (f found) ratio(ours, peer, verb string, level int, limit float64) page.Target {
	a, okA := f.median(ours, verb, level)
	b, okB := f.median(peer, verb, level)
	return page.Target{
		What:  fmt.Sprintf("%s, %d attached: %s / %s", verb, level, ours, peer),
		Limit: limit, Measured: a / b, Missing: !okA || !okB,
	}
}

// above is the distance to the floor.
func (f found) above(ours string, limit float64) page.Target {
	a, okA := f.median(ours, "ADD", 0)
	b, okB := f.median(floorName, "ADD", 0)
	return page.Target{What: "ADD: " + ours + " above the floor", Limit: limit, Unit: " ms", Measured: a - b, Missing: !okA || !okB}
}

// growth is how much more ours has grown than the floor.
func (f found) growth(verb string, level int) page.Target {
	grown := func(name string) (float64, bool) {
		first, okFirst := f.median(name, verb, 0)
		last, okLast := f.median(name, verb, level)
		return last - first, okFirst && okLast
	}
	ours, okOurs := grown(oursNftables)
	floor, okFloor := grown(floorName)
	return page.Target{
		What:  fmt.Sprintf("%s: growth of %s to %d attached, above the floor's (%.2f ms)", verb, oursNftables, level, floor),
		Limit: 1, Unit: " ms", Measured: ours - floor, Missing: !okOurs || !okFloor,
	}
}

func (f found) throughput(verb string, parallel int, limit float64) page.Target {
	t := page.Target{
		What:  fmt.Sprintf("%s/s, %d in parallel, none failed: %s / %s", verb, parallel, oursNftables, refIptables),
		Limit: limit, AtLeast: true, Unit: " x", Missing: true,
	}
	ours, peer := f[oursNftables], f[refIptables]
	if ours == nil || peer == nil {
		return t
	}
	a, b := middle(ours.rate(verb, parallel).returned), middle(peer.rate(verb, parallel).returned)
	t.Measured, t.Missing = a/b, a == 0 || b == 0
	return t
}
