package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// Terminal prints a run for a person: how far it is while it goes on, the
// failing rows in full, and a summary.
type Terminal struct {
	W      io.Writer
	Live   bool // W is a terminal: progress on one line
	Colour bool
	Total  int // cases

	done, bad int
}

// Begin says what is about to be judged.
func (t *Terminal) Begin(subjects []*trial.Subject, profile trial.Profile) {
	fmt.Fprintf(t.W, "judging %d cases of profile %s on\n", t.Total, profile)
	for _, s := range subjects {
		fmt.Fprintf(t.W, "  %-22s %s\n", s.Name, s.Kind)
	}
}

// aLot is how many cases make people wonder whether a run is alive.
const aLot = 100

// Done reports one more finished case. Where there is no terminal, ten lines in
// a long run say that it is alive.
func (t *Terminal) Done(r suite.Result) {
	t.done++
	if r.Verdict == trial.Fail || r.Verdict == trial.Blocked && r.Reason != trial.Interrupted {
		t.bad++
	}
	switch {
	case t.Live && t.done < t.Total:
		fmt.Fprintf(t.W, "\r\033[K%d of %d, %d not passed   %s %s", t.done, t.Total, t.bad, r.Row.ID, r.Subject.Name)
	case t.Live:
		fmt.Fprint(t.W, "\r\033[K")
	case t.Total >= aLot && t.done*10/t.Total > (t.done-1)*10/t.Total && r.Reason != trial.Interrupted:
		fmt.Fprintf(t.W, "%d of %d, %d not passed\n", t.done, t.Total, t.bad)
	}
}

// Reasons lists the rows that do not apply, with the reason.
func (t *Terminal) Reasons(run *Run) {
	t.list(run, trial.NotApplicable, "does not apply to")
}

// Known lists the failures that were expected, with the reason.
func (t *Terminal) Known(run *Run) {
	t.list(run, trial.Known, "is a known deviation of")
}

func (t *Terminal) list(run *Run, v trial.Verdict, words string) {
	first := true
	for _, r := range run.Results {
		if r.Verdict != v {
			continue
		}
		if first {
			fmt.Fprintln(t.W)
			first = false
		}
		fmt.Fprintf(t.W, "%s %s %s: %s\n", r.Row, words, r.Subject, r.Reason)
	}
}

// Summary prints the counts, per subject and in all, and which rows failed.
func (t *Terminal) Summary(run *Run) {
	fmt.Fprintf(t.W, "\n%-24s %6s %6s %8s %6s %6s\n", "", "pass", "fail", "blocked", "n/a", "known")
	all := map[trial.Verdict]int{}
	interrupted := 0
	for _, s := range run.Subjects {
		counts := map[trial.Verdict]int{}
		for _, r := range run.Results {
			switch {
			case r.Subject != s.Name:
			case r.Reason == trial.Interrupted:
				interrupted++
			default:
				counts[r.Verdict]++
				all[r.Verdict]++
			}
		}
		if len(counts) > 0 {
			t.counts(s.Name, counts)
		}
	}
	t.counts("all", all)
	fmt.Fprintln(t.W)
	t.failing(run, trial.Must)
	t.failing(run, trial.Should)
	t.failing(run, trial.May)
	switch {
	case interrupted > 0:
		fmt.Fprintf(t.W, "interrupted after %.0f s: %d of %d cases were not judged\n", run.Seconds, interrupted, len(run.Results))
	case all[trial.Fail]+all[trial.Blocked] > 0:
		fmt.Fprintf(t.W, "%d cases in %.0f s: does not conform to profile %s\n", len(run.Results), run.Seconds, run.Profile)
	default:
		fmt.Fprintf(t.W, "%d cases in %.0f s: conforms to profile %s\n", len(run.Results), run.Seconds, run.Profile)
	}
}

// failing lists the rows of a level that failed on some plugin.
func (t *Terminal) failing(run *Run, level trial.Level) {
	var ids []string
	for _, r := range run.Results {
		if r.Level == level && r.Verdict == trial.Fail && !slices.Contains(ids, r.Row) {
			ids = append(ids, r.Row)
		}
	}
	const perLine = 16
	head := fmt.Sprintf("%d %s failed:", len(ids), level)
	for line := range slices.Chunk(ids, perLine) {
		fmt.Fprintf(t.W, "%-17s %s\n", head, strings.Join(line, " "))
		head = ""
	}
}

func (t *Terminal) counts(name string, c map[trial.Verdict]int) {
	fmt.Fprintf(t.W, "%-24s %6d %6d %8d %6d %6d\n", name, c[trial.Pass], c[trial.Fail], c[trial.Blocked], c[trial.NotApplicable], c[trial.Known])
}

// paint colours a verdict.
func (t *Terminal) paint(v trial.Verdict, text string) string {
	if !t.Colour {
		return text
	}
	colour := map[trial.Verdict]string{trial.Pass: "32", trial.Fail: "31", trial.Blocked: "33"}[v]
	return "\033[" + colour + "m" + text + "\033[0m"
}
