package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
)

// Writer appends to a log and rotates it. Its methods are safe for concurrent
// use, one goroutine per stream.
type Writer struct {
	path string
	max  int64 // bytes at which a file is full
	keep int   // files altogether

	mu   sync.Mutex
	file *os.File
	size int64
	buf  []byte
}

// Defaults of rotation: 10 MB, three files.
const (
	DefaultMaxSize  = 10 << 20
	DefaultMaxFiles = 3
)

// Create opens the log at path for appending.
func Create(path string, maxSize int64, maxFiles int) (*Writer, error) {
	w := &Writer{path: path, max: maxSize, keep: max(maxFiles, 1)}
	return w, w.open()
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.size = f, st.Size()
	return nil
}

// write appends entries in one system call.
func (w *Writer) write(entries []Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size >= w.max {
		if err := w.rotateLocked(); err != nil {
			return err
		}
	}
	w.buf = w.buf[:0]
	for _, e := range entries {
		w.buf = e.append(w.buf)
	}
	n, err := w.file.Write(w.buf)
	w.size += int64(n)
	return err
}

// rotateLocked moves log to log.1 and so on; the last one is overwritten.
func (w *Writer) rotateLocked() error {
	if err := w.file.Close(); err != nil {
		return err
	}
	if w.keep == 1 {
		if err := os.Remove(w.path); err != nil {
			return err
		}
		return w.open()
	}
	for n := w.keep - 1; n > 0; n-- {
		err := os.Rename(rotated(w.path, n-1), rotated(w.path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	return w.open()
}

// rotated names the n-th oldest file.
func rotated(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}

// Close closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.file.Close()
}

// Stream splits what comes from one source into lines. Not safe for
// concurrent use.
type Stream struct {
	w       *Writer
	name    string
	partial bool   // do not wait for line ends
	rest    []byte // a line that has no end yet
	entries []Entry
}

// Stream returns the splitter of one stream. With immediate, text without a line
// end is written at once, as a terminal's must be.
func (w *Writer) Stream(name string, immediate bool) *Stream {
	return &Stream{w: w, name: name, partial: immediate}
}

// Write takes the next bytes as they were read at the given time.
func (s *Stream) Write(now time.Time, p []byte) error {
	s.entries = s.entries[:0]
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		p = rest
		s.add(now, line, whole)
	}
	if s.partial {
		s.flush(now)
	}
	if len(s.entries) == 0 {
		return nil
	}
	err := s.w.write(s.entries)
	return err
}

// add takes a piece of a line, which may be its end.
func (s *Stream) add(now time.Time, piece []byte, whole bool) {
	if len(s.rest) > 0 {
		piece = append(s.rest, piece...)
		s.rest = nil
	}
	for len(piece) > maxLine {
		s.entries = append(s.entries, Entry{now, s.name, true, piece[:maxLine]})
		piece = piece[maxLine:]
	}
	if whole {
		s.entries = append(s.entries, Entry{now, s.name, false, piece})
	} else {
		s.rest = bytes.Clone(piece)
	}
}

func (s *Stream) flush(now time.Time) {
	if len(s.rest) > 0 {
		s.entries = append(s.entries, Entry{now, s.name, true, s.rest})
		s.rest = nil
	}
}

// Close writes what is left without a line end.
func (s *Stream) Close(now time.Time) error {
	s.entries = s.entries[:0]
	s.flush(now)
	if len(s.entries) == 0 {
		return nil
	}
	return s.w.write(s.entries)
}
