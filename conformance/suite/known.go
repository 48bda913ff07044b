package suite

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/netctl/netctl/conformance/trial"
)

// Deviation is a failure its owner knows about and accepts, with the reason.
type Deviation struct {
	Row     string // identifier
	Subject string // plugin name, or * for all
	Reason  string
}

// concerns reports whether a result is one the deviation speaks of.
func (d Deviation) concerns(r Result) bool {
	return d.Row == r.Row.ID && (d.Subject == "*" || d.Subject == r.Subject.Name)
}

// ReadDeviations reads a file of lines "C045 bridge  reason in words". Empty
// lines and lines that begin with # are skipped.
func ReadDeviations(file string) ([]Deviation, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read known deviations: %w", err)
	}
	defer f.Close()
	var out []Deviation
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.Fields(text)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s:%d: %q is not \"ROW PLUGIN reason\"", file, n, text)
		}
		out = append(out, Deviation{Row: fields[0], Subject: fields[1], Reason: strings.Join(fields[2:], " ")})
	}
	return out, lines.Err()
}

// Excuse turns failures that are known into Known, and returns the deviations
// that were looked for and do not happen any more: whoever wrote them down
// should hear of it. One whose rows were not judged is neither.
func Excuse(results []Result, known []Deviation) (stale []Deviation) {
	for _, d := range known {
		happened, passed := false, false
		for i := range results {
			r := &results[i]
			switch {
			case !d.concerns(*r):
			case r.Verdict == trial.Fail:
				r.Verdict, r.Reason, happened = trial.Known, d.Reason, true
			case r.Verdict == trial.Known:
				happened = true // another line has the same
			case r.Verdict != trial.Blocked:
				passed = true
			}
		}
		if passed && !happened {
			stale = append(stale, d)
		}
	}
	return stale
}
