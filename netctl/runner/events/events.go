// Package events is the host's record of what happened to containers, networks
// and volumes since the boot. There is no daemon to ask, so every process that
// does something appends a line to one file, and who wants to know reads it and
// waits for more.
//
// The file is STATE/events, a JSON object a line. Writers take turns by a lock on
// it. It does not grow without end: who makes it longer than a megabyte moves it
// to events.1, and what was there is forgotten.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Kind of object, a word of docker's.
type Kind string

const (
	Container Kind = "container"
	Network   Kind = "network"
	Volume    Kind = "volume"
)

// Event is one thing that happened. Action is a word of docker's: create, start,
// die, stop, kill, destroy, rename, connect ...
type Event struct {
	Time       time.Time         `json:"time"`
	Kind       Kind              `json:"type"`
	Action     string            `json:"action"`
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes,omitempty"` // name, image, exitCode, container ...
}

// maxSize is the length in bytes at which the file is put aside.
const maxSize = 1 << 20

// Journal is the record in a state directory.
type Journal struct{ path string }

// Open gives the journal of a state directory. Nothing is touched.
func Open(stateDir string) Journal { return Journal{filepath.Join(stateDir, "events")} }

// Append writes e, with the time of now if it has none. A failure must not keep
// anybody from doing what the event is about; callers log it.
func (j Journal) Append(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o711); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	f, err := j.lock()
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if st, serr := f.Stat(); err == nil && serr == nil && st.Size() >= maxSize {
		err = os.Rename(j.path, j.path+".1")
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	return nil
}

// lock opens the file for appending and locks it, so that nobody writes to one
// that has been put aside: a reader may be through with it.
func (j Journal) lock() (*os.File, error) {
	for {
		f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		mine, serr := f.Stat()
		if err = errors.Join(err, serr); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Stat(j.path); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close()
	}
}
