package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/netctl/netctl/netctl/runner"
)

// Remove takes the record away: name, directories, and last the lock file. The
// caller holds the lock and is in the host's mount namespace, where nothing of
// the container's is mounted; removeTree checks that.
func (s *Store) Remove(id runner.ID, name string) error {
	var errs []error
	if name != "" {
		errs = append(errs, s.dropName(name, id))
	}
	errs = append(errs, removeTree(s.containersDir(), string(id)))
	if err := errors.Join(errs...); err != nil {
		return err // keep the lock file: the container is still there
	}
	return s.removeRunDir(id)
}

func (s *Store) removeRunDir(id runner.ID) error {
	return os.RemoveAll(s.RunDir(id))
}

// RemoveVolume deletes a named volume.
func (s *Store) RemoveVolume(name string) error {
	return removeTree(filepath.Join(s.data, "volumes"), name)
}
