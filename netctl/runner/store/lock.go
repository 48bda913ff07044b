package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// ErrBusy: another process holds the container's lock, which means that a
// monitor is alive or a removal under way.
var ErrBusy = errors.New("container is in use by another netctl process")

// Lock is the right to change a container. Its file may be passed on to a
// child process; the lock is free when the last copy is closed, however that
// comes about.
//
// It is an open-file-description lock (fcntl(2), F_OFD_SETLK), not flock(2):
// both live and die with the open file, but this one can be asked about
// without being taken, so that `ps` never gets in the way of a `start`.
type Lock struct{ File *os.File }

// Lock takes the container's lock or answers ErrBusy at once.
func (s *Store) Lock(id runner.ID) (*Lock, error) {
	if err := os.MkdirAll(s.RunDir(id), 0o711); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(s.lockPath(id), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock container %s: %w", id.Short(), err)
		}
		err = lockExclusive(f)
		if err == nil && s.isCurrent(id, f) && s.hasDir(id) {
			return &Lock{f}, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		if !s.hasDir(id) { // removed meanwhile; the lock file is our own remnant
			return nil, errors.Join(&NotFoundError{Ref: id.Short()}, s.removeRunDir(id))
		}
	}
}

// lockExclusive does not wait for another holder, but for processes that are
// just waking up from Wait, which share the lock for a moment.
func lockExclusive(f *os.File) error {
	want := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &want)
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if holder := holderType(f); holder == unix.F_WRLCK {
		return ErrBusy
	}
	want = unix.Flock_t{Type: unix.F_WRLCK}
	return ignoringEINTR(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &want) })
}

// holderType is F_WRLCK, F_RDLCK, or F_UNLCK when nobody is in the way.
func holderType(f *os.File) int16 {
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &ask); err != nil {
		return unix.F_UNLCK
	}
	return ask.Type
}

// isCurrent: the path still leads to the file we locked.
func (s *Store) isCurrent(id runner.ID, f *os.File) bool {
	now, err := os.Stat(s.lockPath(id))
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(now, mine)
}

// Close gives the lock back, unless a child process has a copy.
func (l *Lock) Close() error { return l.File.Close() }

// Locked tells whether somebody holds the container's lock. To ask needs no right to
// write, so the answer is true where the file system has become read-only, too.
func (s *Store) Locked(id runner.ID) bool {
	f, err := os.Open(s.lockPath(id))
	if err != nil {
		return false
	}
	defer f.Close()
	return holderType(f) == unix.F_WRLCK
}

// Wait returns when the container's lock is free: its monitor has ended and
// everything the monitor does at the end is done.
func (s *Store) Wait(ctx context.Context, id runner.ID) error {
	f, err := os.Open(s.lockPath(id)) // a shared lock needs no right to write
	if err != nil {
		return nil // no lock file, no holder
	}
	free := make(chan error, 1)
	go func() {
		defer f.Close()
		share := unix.Flock_t{Type: unix.F_RDLCK}
		free <- ignoringEINTR(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &share) })
	}()
	select {
	case err := <-free:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lockContainers locks the directory in which all containers' directories are
// (flock(2)); the lock ends with the file, and so with a killed process.
func (s *Store) lockContainers(how int) (*os.File, error) {
	dir, err := os.Open(s.containersDir())
	if err != nil {
		return nil, err
	}
	if err := ignoringEINTR(func() error { return unix.Flock(int(dir.Fd()), how) }); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return dir, nil
}

// LockIDs has its holder alone look for ids that no container has and write down
// who has them now.
func (s *Store) LockIDs() (unlock func(), err error) {
	if err := mkdirs(s.data); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.data, "ids.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock ids: %w", err)
	}
	if err := ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }); err != nil {
		return nil, errors.Join(fmt.Errorf("lock ids: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
