package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// doomed is added to the name of a directory that is being deleted: from the
// rename on, its container does not exist, however long the deletion takes.
const doomed = ".removed"

// Remove takes the record away: name, directories, and last the lock file. The
// caller holds the lock and is in the host's mount namespace, where nothing of
// the container's is mounted, which is checked.
func (s *Store) Remove(id runner.ID, name string) error {
	if err := refuseMounts(s.Dir(id), s.RunDir(id)); err != nil {
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
	return errors.Join(deleteTree(s.containersDir(), string(id)+doomed), deleteTree(filepath.Dir(s.RunDir(id)), string(id)))
}

// RemoveWork deletes a container's changes to its root file system, ahead of Remove
// and under the same conditions.
func (s *Store) RemoveWork(id runner.ID) error {
	return removeTree(s.Dir(id), filepath.Base(s.WorkDir(id)))
}

func (s *Store) removeRunDir(id runner.ID) error {
	return removeTree(filepath.Dir(s.RunDir(id)), string(id))
}

// Sweep deletes what killed commands have left: directories whose deletion was
// not finished, and those whose record was not written.
func (s *Store) Sweep() error {
	return errors.Join(s.doomHalfMade(), s.sweepDoomed(), s.sweepRunDirs())
}

// doomHalfMade marks the directories without a record for deletion. Such a
// directory is one that a killed command has left, or one that is just being
// made; whoever makes one shares the lock of their parent until the record is
// written. While somebody does, all are left alone for a later sweep.
func (s *Store) doomHalfMade() error {
	if half, err := s.halfMade(); err != nil || len(half) == 0 {
		return err
	}
	nobodyMakes, err := s.lockContainers(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer nobodyMakes.Close()
	half, err := s.halfMade()
	errs := []error{err}
	for _, id := range half {
		// One that is not there any more had a record: it was just being removed
		// while we looked for that.
		if err := os.Rename(s.Dir(id), s.Dir(id)+doomed); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Store) halfMade() ([]runner.ID, error) {
	entries, err := entriesOf(s.containersDir())
	var half []runner.ID
	for _, e := range entries {
		id, notOurs := runner.ParseID(e.Name())
		if _, err := os.Lstat(s.configPath(id)); notOurs == nil && errors.Is(err, fs.ErrNotExist) {
			half = append(half, id)
		}
	}
	return half, err
}

func (s *Store) sweepDoomed() error {
	entries, err := entriesOf(s.containersDir())
	errs := []error{err}
	for _, e := range entries {
		if _, err := runner.ParseID(e.Name()); err != nil {
			errs = append(errs, removeTree(s.containersDir(), e.Name()))
		}
	}
	return errors.Join(errs...)
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
