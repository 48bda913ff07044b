package logfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Query says what to read of a log.
type Query struct {
	Since, Until time.Time // zero: no bound
	// Tail is the number of lines from the end; negative means all.
	Tail int
	// Follow goes on until Ended is closed or Until has come, and all is read, or
	// the context ends.
	Follow bool
	Ended  <-chan struct{}
}

// Read calls emit for each entry of the log at path, oldest first. The entry's
// text is valid during the call only. A line that makes no sense, such as the
// last one after a power cut, is passed over.
func Read(ctx context.Context, path string, q Query, emit func(Entry) error) error {
	r := &reader{path: path, q: q, emit: emit}
	if q.Follow {
		var err error
		if r.watch, err = watchDir(path); err != nil {
			return err
		}
		defer r.watch.Close()
	}
	if err := r.history(); err != nil {
		return err
	}
	if !q.Follow {
		return nil
	}
	defer r.close()
	return r.follow(ctx)
}

type reader struct {
	path  string
	q     Query
	emit  func(Entry) error
	watch *watch

	file *os.File // the current log, when following
	in   *bufio.Reader
	rest []byte // a line that was read in part
}

// history reads what is there. With Follow the newest file stays open.
func (r *reader) history() error {
	emit, flush := r.emit, func() error { return nil }
	if r.q.Tail >= 0 {
		t := &tail{n: r.q.Tail}
		r.emit, flush = t.add, func() error { return t.flush(emit) }
	}
	for n := oldest(r.path); n >= 0; n-- {
		if err := r.open(rotated(r.path, n)); err != nil {
			return err
		}
		if err := r.drain(); err != nil {
			return err
		}
		if n > 0 || !r.q.Follow {
			r.close()
		}
	}
	r.emit = emit
	return flush()
}

// oldest finds the highest number of a rotated file; -1: no log at all.
func oldest(path string) int {
	n := 0
	for {
		if _, err := os.Lstat(rotated(path, n)); err != nil {
			return n - 1
		}
		n++
	}
}

func (r *reader) open(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // rotated away meanwhile
	}
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	r.file, r.in, r.rest = f, bufio.NewReaderSize(f, 64<<10), nil
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// drain reads to the end of the open file. What stands after the last line end
// is kept for the next time.
func (r *reader) drain() error {
	if r.file == nil {
		return nil
	}
	for {
		piece, err := r.in.ReadSlice('\n')
		r.rest = append(r.rest, piece...)
		switch {
		case err == nil:
			if err := r.line(bytes.TrimSuffix(r.rest, []byte("\n"))); err != nil {
				return err
			}
			r.rest = r.rest[:0]
		case errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read log: %w", err)
		}
	}
}

func (r *reader) line(b []byte) error {
	e, err := Parse(b)
	if err != nil {
		return nil
	}
	if e.Time.Before(r.q.Since) || !r.q.Until.IsZero() && e.Time.After(r.q.Until) {
		return nil
	}
	return r.emit(e)
}

func (r *reader) follow(ctx context.Context) error {
	var until <-chan time.Time
	if !r.q.Until.IsZero() {
		t := time.NewTimer(time.Until(r.q.Until))
		defer t.Stop()
		until = t.C
	}
	last := false // this round is after the end
	for {
		if err := r.drain(); err != nil {
			return err
		}
		if r.replaced() {
			// The old file is complete: its writer has moved on.
			if err := r.drain(); err != nil {
				return err
			}
			r.close()
			if err := r.open(r.path); err != nil {
				return err
			}
			continue
		}
		if last {
			return nil
		}
		select {
		case <-r.q.Ended:
			last = true
		case <-until:
			last = true
		case err := <-r.watch.changed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replaced: the path leads to another file than the open one.
func (r *reader) replaced() bool {
	now, err := os.Stat(r.path)
	if err != nil {
		return false
	}
	if r.file == nil {
		return true
	}
	mine, err := r.file.Stat()
	return err == nil && !os.SameFile(now, mine)
}
