package netctl

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/netctl/netctl/netctl/runner/monitor"
)

// explanation takes the time of what a `run --explain` does. The zero value
// takes none.
type explanation struct {
	begun time.Time
	steps []monitor.Step
}

// step does f and notes how long it took.
func (e *explanation) step(name string, f func() error) error {
	begun := time.Now()
	err := f()
	e.steps = append(e.steps, monitor.Step{Name: name, Begun: begun, Took: time.Since(begun)})
	return err
}

// print shows the steps in the order they began. Those of the monitor lie within
// the one that started it; some are done at the same time.
func (e *explanation) print(w io.Writer, more []monitor.Step) error {
	steps := append(slices.Clone(e.steps), more...)
	slices.SortStableFunc(steps, func(a, b monitor.Step) int { return a.Begun.Compare(b.Begun) })
	table := tabwriter.NewWriter(w, 0, 1, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "AT\tTOOK\t  STEP")
	for _, s := range steps {
		fmt.Fprintf(table, "%s\t%s\t  %s\n", millis(s.Begun.Sub(e.begun)), millis(s.Took), s.Name)
	}
	return table.Flush()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000) }
