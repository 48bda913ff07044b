package suite

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/netctl/netctl/conformance/trial"
)

// Case is a row that is to be judged on a subject.
type Case struct {
	Row     *trial.Row
	Subject *trial.Subject
}

// Result is a judged case.
type Result struct {
	Case
	trial.Outcome
}

// Select pairs every row with the subjects it concerns. The filter holds
// identifiers of rows, or their beginnings followed by *; empty means all. No
// names of subjects mean all.
func Select(catalogue []trial.Row, subjects []*trial.Subject, profile trial.Profile, filter, names []string) []Case {
	var out []Case
	for i := range catalogue {
		row := &catalogue[i]
		if !profile.Includes(row.Profile) || !Matches(filter, row.ID) {
			continue
		}
		for _, s := range subjects {
			if s.Fits(row.Scope) && (len(names) == 0 || slices.Contains(names, s.Name)) {
				out = append(out, Case{row, s})
			}
		}
	}
	return out
}

// Run judges the cases, workers at a time, and calls done for each as it is
// finished. Rows that measure time run one by one at the end. The results are
// in the order of the cases; after an interrupt the rest are blocked.
func Run(ctx context.Context, cases []Case, workers int, self string, done func(Result)) []Result {
	results := make([]Result, len(cases))
	var mu sync.Mutex
	judge := func(i int) {
		out := trial.Outcome{Verdict: trial.Blocked, Reason: trial.Interrupted}
		if ctx.Err() == nil {
			out = trial.Judge(ctx, cases[i].Row, cases[i].Subject, self)
		}
		mu.Lock()
		defer mu.Unlock()
		results[i] = Result{cases[i], out}
		done(results[i])
	}
	together, alone := split(cases)
	each(together, workers, judge)
	each(alone, 1, judge)
	return results
}

// split separates the rows that need the machine to themselves.
func split(cases []Case) (together, alone []int) {
	for i, c := range cases {
		if c.Row.Alone {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	return together, alone
}

// each calls do for every index, workers at a time.
func each(indices []int, workers int, do func(int)) {
	queue := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range queue {
				do(i)
			}
		})
	}
	for _, i := range indices {
		queue <- i
	}
	close(queue)
	wg.Wait()
}

// Summary counts verdicts.
type Summary map[trial.Verdict]int

// Count sums results up.
func Count(results []Result) Summary {
	sum := Summary{}
	for _, r := range results {
		sum[r.Verdict]++
	}
	return sum
}

// Clean reports whether nothing failed and everything could be judged.
func (s Summary) Clean() bool { return s[trial.Fail] == 0 && s[trial.Blocked] == 0 }

// Matches reports whether an identifier fits one of the patterns, or there are
// none. A pattern ends in * or is the identifier itself.
func Matches(patterns []string, id string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		stem, open := strings.CutSuffix(p, "*")
		if open && strings.HasPrefix(id, stem) || p == id {
			return true
		}
	}
	return false
}
