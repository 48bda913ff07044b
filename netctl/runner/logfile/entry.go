// Package logfile keeps what a container prints, in the format Kubernetes'
// container runtimes agreed on (CRI), which every log agent can follow:
//
//	2026-01-02T15:04:05.000000000Z stdout F a whole line
//	2026-01-02T15:04:05.000000000Z stderr P the beginning of one, no line end
//
// Beside docker's JSON there is nothing to escape, so it is cheaper to write and
// can be searched with grep. A line longer than 16 KiB, and whatever a terminal
// or a dying program prints without a line end, is written in parts.
//
// The writer rotates: log, log.1 ... with the newest in log. The reader follows
// by inotify and never polls.
package logfile

import (
	"bytes"
	"fmt"
	"time"
)

// Stream names as they stand in the file.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// maxLine is where the kubelet and docker cut, too.
const maxLine = 16 << 10

// timeFormat has all nine digits, so that lines stay aligned.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Entry is one line of the file.
type Entry struct {
	Time    time.Time
	Stream  string
	Partial bool // no line end follows the text
	Text    []byte
}

func (e Entry) append(b []byte) []byte {
	b = e.Time.UTC().AppendFormat(b, timeFormat)
	b = append(b, ' ')
	b = append(b, e.Stream...)
	if e.Partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, e.Text...)
	return append(b, '\n')
}

// Parse reads one line, without its line end.
func Parse(line []byte) (Entry, error) {
	var e Entry
	stamp, rest, ok1 := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, ok3 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !ok3 {
		return e, fmt.Errorf("log line %.40q: want time, stream, tag and text", line)
	}
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
		return e, fmt.Errorf("log line %.40q: %w", line, err)
	}
	switch e.Stream = string(stream); e.Stream {
	case Stdout, Stderr:
	default:
		return e, fmt.Errorf("log line %.40q: unknown stream %q", line, stream)
	}
	// Further tags may follow a colon.
	first, _, _ := bytes.Cut(tag, []byte(":"))
	switch string(first) {
	case "F":
	case "P":
		e.Partial = true
	default:
		return e, fmt.Errorf("log line %.40q: unknown tag %q", line, tag)
	}
	e.Text = text
	return e, nil
}
