package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// Failures prints every row that failed or could not be judged: what it says,
// and for each plugin what was wanted, what came, what had been sent, and how
// to see it again.
func (t *Terminal) Failures(run *Run) {
	for _, group := range byRow(run.Results) {
		row := group[0]
		fmt.Fprintf(t.W, "\n%s  %s, %s  %s\n  %s\n", t.paint(worst(group), row.Row), row.Level, row.Profile, row.Section, row.Statement)
		var names []string
		for _, r := range group {
			names = append(names, r.Subject)
			t.failure(r)
		}
		fmt.Fprintf(t.W, "  again: %s\n", run.Again(row.Row, names...))
	}
}

// byRow gathers the results that need somebody's attention.
func byRow(results []Result) [][]Result {
	var out [][]Result
	for _, r := range results {
		switch {
		case r.Verdict != trial.Fail && r.Verdict != trial.Blocked, r.Reason == trial.Interrupted:
		case len(out) > 0 && out[len(out)-1][0].Row == r.Row:
			out[len(out)-1] = append(out[len(out)-1], r)
		default:
			out = append(out, []Result{r})
		}
	}
	return out
}

func worst(group []Result) trial.Verdict {
	return slices.MinFunc(group, func(a, b Result) int { return severity(a.Verdict) - severity(b.Verdict) }).Verdict
}

// failure prints the first few findings on a plugin; the JSON record has all.
func (t *Terminal) failure(r Result) {
	fmt.Fprintf(t.W, "  %s on %s\n", t.paint(r.Verdict, strings.ToUpper(string(r.Verdict))), r.Subject)
	if r.Reason != "" {
		fmt.Fprintf(t.W, "    because %s\n", r.Reason)
	}
	const most = 3
	sent := 0
	for i, f := range r.Findings {
		if i == most {
			fmt.Fprintf(t.W, "    ... and %d more\n", len(r.Findings)-most)
			break
		}
		fmt.Fprintf(t.W, "    wanted  %s\n    got     %s\n", f.Want, strings.ReplaceAll(f.Got, "\n", "\n            "))
		if f.Call > 0 && f.Call <= len(r.Calls) && f.Call != sent {
			sent = f.Call
			fmt.Fprintf(t.W, "    sent    %s\n", r.Calls[f.Call-1].Sent())
		}
	}
}

// Again is the command line that judges a row once more on some plugins, all
// of them if there are none.
func (run *Run) Again(row string, subjects ...string) string {
	line := run.Command + " --filter " + row
	for _, s := range subjects {
		line += " --subject " + protocol.Quote(s)
	}
	return line
}

// Describe prints everything the record has about a result: each call with
// what was sent and what came back, the findings after it, and the shell line.
func (r Result) Describe(w io.Writer) {
	findings := func(call int) {
		for _, f := range r.Findings {
			if f.Call == call {
				fmt.Fprintf(w, "     wanted  %s\n     got     %s\n", f.Want, strings.ReplaceAll(f.Got, "\n", "\n             "))
			}
		}
	}
	findings(0)
	for i, c := range r.Calls {
		fmt.Fprintf(w, "  %d. sent    %s\n     back    %s\n", i+1, c.Sent(), c.Answer())
		findings(i + 1)
	}
	if r.Shell != "" {
		fmt.Fprintf(w, "  by hand, as root:\n     %s\n", r.Shell)
	}
	if r.Partial != "" {
		fmt.Fprintf(w, "     (not in this line: %s)\n", r.Partial)
	}
	fmt.Fprintf(w, "  again: %s\n", r.Again)
}
