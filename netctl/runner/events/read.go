package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Read calls yield for each event since a time, oldest first, until it returns
// false. With follow it then waits for more until ctx ends. Lines that can't be
// read, of a later version perhaps, are passed over.
func (j Journal) Read(ctx context.Context, since time.Time, follow bool, yield func(Event) bool) error {
	w, err := j.watch(follow)
	if err != nil {
		return err
	}
	defer w.Close()
	wanted := func(e Event) bool { return e.Time.Before(since) || yield(e) }
	old, err := open(j.path + ".1")
	if err != nil {
		return err
	}
	r := reader{path: j.path}
	defer func() { closeFile(r.file) }()
	if old != nil {
		r.file = old
	} else if r.file, err = open(j.path); err != nil {
		return err
	}
	for {
		if err := r.drain(wanted); err != nil {
			return err
		}
		moved, err := r.next(wanted)
		if err != nil || r.enough {
			return err
		}
		if moved {
			continue
		}
		if !follow {
			return nil
		}
		if err := w.wait(ctx); err != nil {
			return nil //nolint:nilerr // the end of waiting is no failure
		}
	}
}

// reader goes through a file and what takes its place.
type reader struct {
	path string
	file *os.File
	buf  []byte // the beginning of a line that is not complete
	// enough: yield wants no more.
	enough bool
}

// drain reads to the end of the file.
func (r *reader) drain(yield func(Event) bool) error {
	if r.file == nil || r.enough {
		return nil
	}
	in := bufio.NewReader(r.file)
	for {
		part, err := in.ReadBytes('\n')
		r.buf = append(r.buf, part...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		var e Event
		if json.Unmarshal(bytes.TrimSpace(r.buf), &e) == nil && !yield(e) {
			r.enough = true
			return nil
		}
		r.buf = r.buf[:0]
	}
}

// next opens the file that the path leads to now, if it is another one; the one put
// aside comes before it, if that isn't ours. What was written to ours before it was
// put aside is read first.
func (r *reader) next(yield func(Event) bool) (moved bool, err error) {
	f, err := open(r.path)
	if err != nil || f == nil {
		return false, err
	}
	if r.file != nil {
		if same, err := sameFile(r.file, f); err != nil || same {
			return false, errors.Join(err, f.Close())
		}
		between, err := open(r.path + ".1")
		if err != nil {
			return false, errors.Join(err, f.Close())
		}
		if between != nil {
			same, err := sameFile(r.file, between)
			if err != nil {
				return false, errors.Join(err, between.Close(), f.Close())
			}
			if !same {
				f, between = between, f
			}
			closeFile(between)
		}
		if err := r.drain(yield); err != nil {
			return false, errors.Join(err, f.Close())
		}
		closeFile(r.file)
	}
	r.file, r.buf = f, nil
	return true, nil
}

func sameFile(a, b *os.File) (bool, error) {
	one, err1 := a.Stat()
	other, err2 := b.Stat()
	return os.SameFile(one, other), errors.Join(err1, err2)
}

// open gives nil for a file that is not there.
func open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}

// watcher tells that something in the directory has changed (inotify(7)).
type watcher struct{ file *os.File }

func (j Journal) watch(follow bool) (*watcher, error) {
	if !follow {
		return &watcher{}, nil
	}
	dir := filepath.Dir(j.path)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("watch events: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch events: %w", err)
	}
	w := &watcher{os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), w.Close())
	}
	return w, nil
}

func (w *watcher) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := w.file.Read(make([]byte, 4096))
	return err
}

func (w *watcher) Close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
