package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// Terminal prints a run for a person: a line of progress while it goes on, the
// failing rows in full, and a summary.
type Terminal struct {
	W     io.Writer
	Live  bool // W is a terminal: progress on one line, colours
	Total int

	done, bad int
}

// Begin says what is about to be judged.
func (t *Terminal) Begin(subjects []*trial.Subject, profile trial.Profile) {
	fmt.Fprintf(t.W, "judging %d rows of profile %s on\n", t.Total, profile)
	for _, s := range subjects {
		fmt.Fprintf(t.W, "  %-22s %s\n", s.Name, s.Kind)
	}
}

// Done reports one more finished case.
func (t *Terminal) Done(r suite.Result) {
	t.done++
	if r.Verdict == trial.Fail || r.Verdict == trial.Blocked {
		t.bad++
	}
	if t.Live {
		fmt.Fprintf(t.W, "\r\033[K%d of %d rows, %d not passed   %s %s", t.done, t.Total, t.bad, r.Row.ID, r.Subject.Name)
	}
	if t.Live && t.done == t.Total {
		fmt.Fprint(t.W, "\r\033[K")
	}
}

// Failures prints every failing row with what was wanted, what came, and how
// to see it again.
func (t *Terminal) Failures(run *Run, statement func(row string) string) {
	for _, r := range run.Results {
		if r.Verdict != trial.Fail && r.Verdict != trial.Blocked {
			continue
		}
		fmt.Fprintf(t.W, "\n%s %s on %s (%s, %s)\n  %s\n", t.paint(r.Verdict, strings.ToUpper(string(r.Verdict))), r.Row, r.Subject, r.Level, r.Profile, statement(r.Row))
		if r.Reason != "" {
			fmt.Fprintf(t.W, "  because %s\n", r.Reason)
		}
		t.findings(r.Findings)
		fmt.Fprintf(t.W, "  again:  %s\n", r.Again)
	}
}

// findings prints the first few; the JSON record has all.
func (t *Terminal) findings(all []trial.Finding) {
	const most = 4
	for i, f := range all {
		if i == most {
			fmt.Fprintf(t.W, "  ... and %d more findings\n", len(all)-most)
			return
		}
		fmt.Fprintf(t.W, "  wanted: %s\n  got:    %s\n", f.Want, strings.ReplaceAll(f.Got, "\n", "\n          "))
	}
}

// Summary prints the counts, per subject and in all.
func (t *Terminal) Summary(run *Run) {
	fmt.Fprintf(t.W, "\n%-24s %6s %6s %8s %6s %6s\n", "", "pass", "fail", "blocked", "n/a", "known")
	all := map[trial.Verdict]int{}
	for _, s := range run.Subjects {
		counts := map[trial.Verdict]int{}
		for _, r := range run.Results {
			if r.Subject == s.Name {
				counts[r.Verdict]++
				all[r.Verdict]++
			}
		}
		t.counts(s.Name, counts)
	}
	t.counts("all", all)
	fmt.Fprintf(t.W, "\n%d rows in %.0f s, profile %s\n", len(run.Results), run.Seconds, run.Profile)
}

func (t *Terminal) counts(name string, c map[trial.Verdict]int) {
	fmt.Fprintf(t.W, "%-24s %6d %6d %8d %6d %6d\n", name, c[trial.Pass], c[trial.Fail], c[trial.Blocked], c[trial.NotApplicable], c[trial.Known])
}

// paint colours a verdict on a terminal.
func (t *Terminal) paint(v trial.Verdict, text string) string {
	if !t.Live {
		return text
	}
	colour := map[trial.Verdict]string{trial.Pass: "32", trial.Fail: "31", trial.Blocked: "33"}[v]
	return "\033[" + colour + "m" + text + "\033[0m"
}
