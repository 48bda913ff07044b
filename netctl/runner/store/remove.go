package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/netctl/netctl/netctl/runner"
)

// doomed is added to the name of a directory that is being deleted: from the
// rename on, its container does not exist, however long the deletion takes.
const doomed = ".removed"

// Remove takes the record away: name, directories, and last the lock file. The
// caller holds the lock and is in the host's mount namespace, where nothing of
// the container's is mounted; removeTree checks that.
func (s *Store) Remove(id runner.ID, name string) error {
	if err := refuseMounts(s.Dir(id)); err != nil {
		return err
	}
	if name != "" {
		if err := s.dropName(name, id); err != nil {
			return err
		}
	}
	err := os.Rename(s.Dir(id), s.Dir(id)+doomed)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // keep the lock file: the container is still there
	}
	return errors.Join(removeTree(s.containersDir(), string(id)+doomed), s.removeRunDir(id))
}

func (s *Store) removeRunDir(id runner.ID) error {
	return os.RemoveAll(s.RunDir(id))
}

// sweepAge is how old a directory without a record must be to be a leftover and
// not a container that another process is just making.
const sweepAge = time.Minute

// Sweep deletes what killed commands have left: directories whose deletion was
// not finished, and those whose record was not written.
func (s *Store) Sweep() error {
	return errors.Join(s.sweepDirs(), s.sweepRunDirs())
}

func (s *Store) sweepDirs() error {
	entries, err := entriesOf(s.containersDir())
	errs := []error{err}
	for _, e := range entries {
		if s.isLeftover(e) {
			errs = append(errs, removeTree(s.containersDir(), e.Name()))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) isLeftover(e fs.DirEntry) bool {
	id, err := runner.ParseID(e.Name())
	if err != nil {
		return true
	}
	if _, err := os.Lstat(s.configPath(id)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > sweepAge
}

// sweepRunDirs deletes those whose container is gone. A container's directory is
// made before its lock and deleted before it, so there is no mistaking a new one.
func (s *Store) sweepRunDirs() error {
	entries, err := entriesOf(filepath.Join(s.state, "c"))
	errs := []error{err}
	for _, e := range entries {
		id, err := runner.ParseID(e.Name())
		if err == nil && !s.hasDir(id) && !s.Locked(id) {
			errs = append(errs, s.removeRunDir(id))
		}
	}
	return errors.Join(errs...)
}

func entriesOf(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}
