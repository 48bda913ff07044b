package logfile

import "bytes"

// tail keeps the entries of the last n lines. A line may consist of several
// entries, all but the last of them partial.
type tail struct {
	n     int
	lines [][]Entry
	open  map[string]bool // streams whose last line has no end yet
}

func (t *tail) add(e Entry) error {
	if t.n == 0 {
		return nil
	}
	e.Text = bytes.Clone(e.Text)
	if t.open[e.Stream] && t.join(e) {
		return nil
	}
	t.lines = append(t.lines, []Entry{e})
	t.mark(e)
	if len(t.lines) > t.n {
		t.lines[0] = nil
		t.lines = t.lines[1:]
	}
	return nil
}

// join adds e to the unfinished line of its stream, if that is still kept.
func (t *tail) join(e Entry) bool {
	for i := len(t.lines) - 1; i >= 0; i-- {
		if t.lines[i][0].Stream == e.Stream {
			t.lines[i] = append(t.lines[i], e)
			t.mark(e)
			return true
		}
	}
	return false
}

func (t *tail) mark(e Entry) {
	if t.open == nil {
		t.open = map[string]bool{}
	}
	t.open[e.Stream] = e.Partial
}

func (t *tail) flush(emit func(Entry) error) error {
	for _, line := range t.lines {
		for _, e := range line {
			if err := emit(e); err != nil {
				return err
			}
		}
	}
	return nil
}
