package forward

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestQueue compares the queue with a slice, over random pushes and removals.
func TestQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	q := queue{of: func(x *exchange) *links { return &x.step }}
	all := make([]exchange, 10)
	var want []*exchange
	start := time.Unix(0, 0)
	for i := range 5000 {
		x := &all[rnd.IntN(len(all))]
		want = slices.DeleteFunc(want, func(have *exchange) bool { return have == x })
		if rnd.IntN(2) == 0 {
			q.remove(x)
		} else {
			q.push(x, start.Add(time.Duration(i)))
			want = append(want, x)
		}
		var got []*exchange
		for x := q.head; x != nil; x = x.step.next {
			got = append(got, x)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("after %d steps: %d queued, want %d", i, len(got), len(want))
		}
		if len(want) > 0 && (!q.due().Equal(want[0].step.due) || q.tail != want[len(want)-1]) {
			t.Fatalf("after %d steps: the ends are wrong", i)
		}
		if len(want) == 0 && (!q.due().IsZero() || q.tail != nil) {
			t.Fatalf("after %d steps: empty, but it has ends", i)
		}
	}
}
