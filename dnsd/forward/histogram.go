package forward

import "time"

// A Histogram counts how long exchanges took. Bounds[i] is the upper limit of
// Counts[i]; the last of Counts has no limit.
type Histogram struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// Bounds are the upper limits of a Histogram's classes.
var Bounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond,
	500 * time.Millisecond, 1 * time.Second, 2 * time.Second,
}

func (h *Histogram) observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}
