package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of files that are not lists yet, or no longer. Their extensions keep
// every CNI runtime from reading them.
const (
	unfinished = ".netctl-*.tmp"
	removing   = ".removing"
)

// locked runs fn while this process alone changes the directory. The lock is
// on the directory itself: a runtime's watch sees no lock file come and go. It
// ends with the process, so nothing is left to clear up after a kill but the
// files that tidy deals with.
func (s *Store) locked(fn func() error) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make the network directory: %w", err)
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("lock the network directory: %w", err)
	}
	defer dir.Close()
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.dir, err)
	}
	if err := s.tidy(); err != nil {
		return err
	}
	return fn()
}

// tidy finishes what a killed process left: a list half written is dropped, a
// list half removed is put back, so that it can be removed again.
func (s *Store) tidy() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("tidy up: %w", err)
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(s.dir, entry.Name())
		if half, _ := filepath.Match(unfinished, name); half {
			err = os.Remove(path)
		} else if strings.HasPrefix(name, ".") && strings.HasSuffix(name, removing) {
			err = os.Rename(path, filepath.Join(s.dir, strings.TrimSuffix(name[1:], removing)))
		}
		if err != nil {
			return fmt.Errorf("tidy up: %w", err)
		}
	}
	return nil
}

// write puts the list in place in one step. containerd watches the directory
// and overlooks files that are created or moved in from elsewhere, but not a
// rename within (spec cni 5.1). The list outlives the boot, hence the fsync.
func (s *Store) write(n Network) error {
	if _, err := os.Lstat(n.File); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write network %s: %s is in the way", n.Name, n.File)
	}
	file, err := os.CreateTemp(s.dir, unfinished)
	if err != nil {
		return fmt.Errorf("write network %s: %w", n.Name, err)
	}
	_, err = file.Write(n.List)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), n.File)
	}
	if err != nil {
		return fmt.Errorf("write network %s: %w", n.Name, errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

// Remove takes the network's list away and calls dismantle, which is to refuse
// (then the list comes back) or to remove what the network has in the kernel.
// The list goes first, so that nobody can start to use the network meanwhile.
func (s *Store) Remove(n Network, dismantle func() error) error {
	switch {
	case n.Predefined():
		return fmt.Errorf("%s is a %w and cannot be removed", n.Name, ErrPredefined)
	case !n.Ours:
		return fmt.Errorf("network %s was %w: remove it with the tool that wrote %s", n.Name, ErrForeign, n.File)
	}
	return s.locked(func() error {
		current, err := s.Find(n.Name)
		if err != nil {
			return err
		}
		if current.ID != n.ID {
			return &NotFoundError{Ref: n.ID} // made anew under the same name
		}
		hidden := filepath.Join(s.dir, "."+filepath.Base(n.File)+removing)
		if err := os.Rename(n.File, hidden); err != nil {
			return fmt.Errorf("remove network %s: %w", n.Name, err)
		}
		if err := dismantle(); err != nil {
			return errors.Join(err, os.Rename(hidden, n.File))
		}
		if err := os.Remove(hidden); err != nil {
			return fmt.Errorf("remove network %s: %w", n.Name, err)
		}
		return nil
	})
}
