// Package flock takes turns between processes by flock(2). The kernel gives a
// lock back with the last descriptor, so a killed process blocks nobody, and it
// wakes the next one at once: nobody polls.
package flock

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy means that the lock could not be had in time.
var ErrBusy = errors.New("locked by another process")

// Open opens the file, which is made (0600) if need be, and locks it: how is
// unix.LOCK_SH or unix.LOCK_EX. Closing the file unlocks it. The error is
// ErrBusy if others held the lock for longer than wait;
// with a wait of 0 it asks once.
func Open(path string, how int, wait time.Duration) (*os.File, error) {
	file, err := OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	fd := int(file.Fd())
	err = unix.Flock(fd, how|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return locked(file, err)
	}
	if wait <= 0 { // nobody may stay behind who takes the lock from the next one who asks
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, ErrBusy)
	}
	done := make(chan error, 1)
	go func() { done <- block(fd, how) }()
	select {
	case err := <-done:
		return locked(file, err)
	case <-time.After(wait):
		// A blocking flock can't be called off: when the lock comes after
		// all, it is given back at once.
		go func() { <-done; file.Close() }()
		return nil, fmt.Errorf("lock %s: %w (waited %s)", path, ErrBusy, wait)
	}
}

func locked(file *os.File, err error) (*os.File, error) {
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return file, nil
}

// block waits in the kernel, through signals.
func block(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// OpenFile is os.OpenFile for a file on disk. That one offers each file to
// Go's poller first, which takes no files on disk: five system calls for
// nothing, at each turn.
func OpenFile(path string, flags int, mode os.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(mode.Perm()))
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
