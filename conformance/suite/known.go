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
	used    bool
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
// that no longer happen: whoever wrote them down should hear of it.
func Excuse(results []Result, known []Deviation) (stale []Deviation) {
	for i := range results {
		r := &results[i]
		for j := range known {
			d := &known[j]
			if d.Row != r.Row.ID || d.Subject != "*" && d.Subject != r.Subject.Name {
				continue
			}
			if r.Verdict == trial.Fail {
				r.Verdict, r.Reason, d.used = trial.Known, d.Reason, true
			}
		}
	}
	for _, d := range known {
		if !d.used {
			stale = append(stale, d)
		}
	}
	return stale
}
