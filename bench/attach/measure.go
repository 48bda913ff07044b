package main

import (
	"fmt"
	"slices"
	"time"
)

// A series are the costs of one verb beside so many attached containers.
type series struct {
	verb  string
	level int
	costs []cost
}

// rates are what was reached with so many operations under way, once for each
// batch.
type rates struct {
	verb     string
	parallel int
	// returned count until the last operation had returned, settled until nothing
	// was at work any more; operations per second.
	returned, settled []float64
}

// atLevel measures all implementations in turn, beside so many containers that
// are attached already.
func atLevel(worlds []*world, level, rounds int) error {
	const warmUp = 2
	if level > 0 {
		rounds = max(rounds/3, 1)
	}
	taking := slices.DeleteFunc(slices.Clone(worlds), func(w *world) bool { return level > 0 && !w.kinds.levels })
	collected := map[*world][2]*series{}
	for _, w := range taking {
		if level > 0 {
			progress("%s: attach %d", w.name, level)
		}
		if err := w.fill(level); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		collected[w] = [2]*series{{verb: "ADD", level: level}, {verb: "DEL", level: level}}
	}
	for round := range warmUp + rounds {
		for _, w := range taking {
			add, del, err := w.once(true)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", w.name, round, err)
			}
			if round < warmUp {
				continue
			}
			both := collected[w]
			both[0].costs, both[1].costs = append(both[0].costs, add), append(both[1].costs, del)
		}
	}
	for _, w := range taking {
		w.series = append(w.series, *collected[w][0], *collected[w][1])
	}
	return nil
}

// inParallel has all implementations attach a batch and detach it, some at a
// time, in turns.
func inParallel(worlds []*world, parallel int, o options) error {
	size := min(o.batch, max(2*parallel, 8))
	for range o.batches {
		for _, w := range worlds {
			if !w.kinds.parallel {
				continue
			}
			if err := w.batch(parallel, size); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return nil
}

// batch attaches so many containers and detaches them.
func (w *world) batch(parallel, size int) error {
	var ops []operation
	for range size {
		op, err := w.container()
		if err != nil {
			return err
		}
		w.used = append(w.used, op.container)
		ops = append(ops, op)
	}
	for _, verb := range []string{"ADD", "DEL"} {
		for i := range ops {
			ops[i].verb = verb
		}
		took, err := w.all(ops, parallel)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := w.subject.settle(); err != nil {
			return err
		}
		per := func(d time.Duration) float64 { return float64(size) / d.Seconds() }
		r := w.rate(verb, parallel)
		r.returned, r.settled = append(r.returned, per(took)), append(r.settled, per(took+time.Since(start)))
	}
	return nil
}

// find gives the costs of a verb at a level, or nil.
func (w *world) find(verb string, level int) []cost {
	for _, s := range w.series {
		if s.verb == verb && s.level == level {
			return s.costs
		}
	}
	return nil
}

// rate gives the rates of a verb with so many under way.
func (w *world) rate(verb string, parallel int) *rates {
	for _, r := range w.rates {
		if r.verb == verb && r.parallel == parallel {
			return r
		}
	}
	r := &rates{verb: verb, parallel: parallel}
	w.rates = append(w.rates, r)
	return r
}

// middle is the median of values; 0 if there are none.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}

func wall(c cost) time.Duration { return c.wall }
func cpu(c cost) time.Duration  { return c.cpu }

// percentile is that of the costs' walls or processor times, in milliseconds;
// 0 if there are none.
func percentile(costs []cost, of func(cost) time.Duration, percent int) float64 {
	if len(costs) == 0 {
		return 0
	}
	values := make([]time.Duration, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	slices.Sort(values)
	return float64(values[(len(values)-1)*percent/100].Nanoseconds()) / 1e6
}

func median(costs []cost) float64 { return percentile(costs, wall, 50) }
