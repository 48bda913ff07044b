package page

import "fmt"

// A Target is a figure that a run has to reach: at most Limit, or at least
// that if AtLeast.
type Target struct {
	What     string
	Limit    float64
	AtLeast  bool
	Unit     string // " ms", " x", or "" for a ratio
	Measured float64
	// Missing tells that the run has no figure for it.
	Missing bool
}

// Met tells whether the figure was reached.
func (t Target) Met() bool {
	if t.Missing {
		return false
	}
	if t.AtLeast {
		return t.Measured >= t.Limit
	}
	return t.Measured <= t.Limit
}

func (t Target) row() []string {
	sign, verdict := "at most", "missed"
	if t.AtLeast {
		sign = "at least"
	}
	measured := fmt.Sprintf("%.3g%s", t.Measured, t.Unit)
	switch {
	case t.Missing:
		measured, verdict = "-", "not measured"
	case t.Met():
		verdict = "met"
	}
	return []string{t.What, fmt.Sprintf("%s %.3g%s", sign, t.Limit, t.Unit), measured, verdict}
}

// Targets adds a table with a verdict on each.
func (s *Section) Targets(targets []Target) {
	rows := [][]string{{"what", "target", "measured", ""}}
	for _, t := range targets {
		rows = append(rows, t.row())
	}
	s.Table(rows)
}
