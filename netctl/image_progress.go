package netctl

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"

	"github.com/netctl/netctl/netctl/image"
)

// pullDisplay shows how layers come in: a block of bars that is drawn over on a
// terminal, a line for each layer that is done otherwise.
type pullDisplay struct {
	out      io.Writer
	quiet    bool
	terminal bool

	mu     sync.Mutex
	layers []image.LayerProgress // in the image's order
	drawn  int                   // lines on the screen
	last   time.Time
}

// redrawEvery keeps a fast network from being slowed down by the terminal.
const redrawEvery = 100 * time.Millisecond

func newPullDisplay(out io.Writer, quiet bool) *pullDisplay {
	r, _ := out.(io.Reader)
	return &pullDisplay{out: out, quiet: quiet, terminal: r != nil && isTerminal(r)}
}

func (d *pullDisplay) say(format string, args ...any) {
	if !d.quiet {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

// report is an image.Report.
func (d *pullDisplay) report(p image.LayerProgress) {
	if d.quiet {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := d.note(p)
	switch {
	case d.terminal && (changed || time.Since(d.last) > redrawEvery):
		d.redraw()
	case !d.terminal && changed && (p.State == image.LayerDone || p.State == image.LayerExists):
		fmt.Fprintf(d.out, "%s: %s (%s)\n", p.Layer.Hex[:12], p.State, units.HumanSize(float64(p.Total)))
	}
}

// note keeps the newest progress of a layer, and tells whether its state is
// new.
func (d *pullDisplay) note(p image.LayerProgress) bool {
	for i := range d.layers {
		if d.layers[i].Layer == p.Layer {
			changed := d.layers[i].State != p.State
			d.layers[i] = p
			return changed
		}
	}
	d.layers = append(d.layers, p)
	return true
}

// redraw replaces the block: a bar for the whole image, and one for each layer
// on its way, of which there are few.
func (d *pullDisplay) redraw() {
	d.last = time.Now()
	var text strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&text, "\x1b[%dA", d.drawn)
	}
	lines := progressLines(d.layers)
	for _, line := range lines {
		fmt.Fprintf(&text, "\r\x1b[K%s\n", line)
	}
	text.WriteString("\x1b[J")
	d.drawn = len(lines)
	io.WriteString(d.out, text.String())
}

func progressLines(layers []image.LayerProgress) []string {
	finished := 0
	var done, total int64
	var loading []string
	for _, p := range layers {
		total += p.Total
		switch p.State {
		case image.LayerDone, image.LayerExists:
			finished++
			done += p.Total
		case image.LayerLoading:
			done += p.Done
			loading = append(loading, barLine(p.Layer.Hex[:12], p.Done, p.Total))
		}
	}
	return append([]string{barLine(fmt.Sprintf("%d/%d layers", finished, len(layers)), done, total)}, loading...)
}

const barWidth = 30

func barLine(label string, done, total int64) string {
	filled := barWidth
	if total > 0 {
		filled = int(min(done, total) * barWidth / total)
	}
	return fmt.Sprintf("%-14s [%s%s] %s / %s", label, strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled),
		units.HumanSize(float64(done)), units.HumanSize(float64(total)))
}

// end takes the block away: what is left on the screen is what stays true.
func (d *pullDisplay) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn > 0 {
		fmt.Fprintf(d.out, "\x1b[%dA\r\x1b[J", d.drawn)
		d.drawn = 0
	}
}
