package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// Volume is a directory of data that outlives containers:
//
//	volumes/NAME/_data          what containers see
//	volumes/NAME/volume.json    this record
//	volumes/.lock               held while one is made or removed
type Volume struct {
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Path is the directory that containers see.
	Path string `json:"-"`
}

// Anonymous volumes were made for one container, and go with it.
func (v Volume) Anonymous() bool {
	_, err := runner.ParseID(v.Name)
	return err == nil
}

// NoVolumeError: there is no volume of this name.
type NoVolumeError struct{ Name string }

func (e *NoVolumeError) Error() string { return "no such volume: " + e.Name }

// ErrVolumeExists: the volume was there before.
var ErrVolumeExists = errors.New("volume exists")

var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// CheckVolumeName tells what is wrong with a name for a volume. It keeps a name
// from being a path.
func CheckVolumeName(name string) error {
	if len(name) > 255 || !volumeName.MatchString(name) {
		return fmt.Errorf("invalid volume name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed; a path has a slash", name)
	}
	return nil
}

// CreateVolume makes an empty volume, or answers ErrVolumeExists with the one
// that is there.
func (s *Store) CreateVolume(name string, labels map[string]string) (Volume, error) {
	if err := CheckVolumeName(name); err != nil {
		return Volume{}, err
	}
	unlock, err := s.lockVolumes()
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	if v, err := s.Volume(name); err == nil {
		return v, ErrVolumeExists
	}
	v := Volume{Name: name, Created: time.Now(), Labels: labels, Path: s.VolumePath(name)}
	if err := os.MkdirAll(v.Path, 0o755); err != nil {
		return v, fmt.Errorf("create volume %s: %w", name, err)
	}
	// Our umask may be strict, and the data is for everybody in the container.
	if err := os.Chmod(v.Path, 0o755); err != nil {
		return v, fmt.Errorf("create volume %s: %w", name, err)
	}
	if err := writeJSON(s.volumeRecord(name), v, true); err != nil {
		// Nothing can be in it yet; with something in it this removes nothing.
		return v, errors.Join(err, os.Remove(v.Path), os.Remove(filepath.Dir(v.Path)))
	}
	return v, nil
}

// Volume reads one. A directory without a record was cut short in the making, or
// made by an earlier version; its age tells when.
func (s *Store) Volume(name string) (Volume, error) {
	v := Volume{Name: name, Path: s.VolumePath(name)}
	if CheckVolumeName(name) != nil {
		return v, &NoVolumeError{name}
	}
	st, err := os.Stat(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, &NoVolumeError{name}
	}
	if err != nil {
		return v, fmt.Errorf("volume %s: %w", name, err)
	}
	if err := readJSON(s.volumeRecord(name), &v); err != nil {
		v.Created = st.ModTime()
	}
	v.Name = name
	return v, nil
}

// Volumes lists all, by name.
func (s *Store) Volumes() ([]Volume, error) {
	entries, err := entriesOf(s.volumesDir())
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var list []Volume
	for _, e := range entries {
		v, err := s.Volume(e.Name())
		var missing *NoVolumeError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// RemoveVolume deletes a volume if inUse, asked when nobody can make one any
// more, has no objection. A container that is made meanwhile gets a new one.
func (s *Store) RemoveVolume(name string, inUse func() error) error {
	if _, err := s.Volume(name); err != nil {
		return err
	}
	unlock, err := s.lockVolumes()
	if err != nil {
		return err
	}
	defer unlock()
	if err := inUse(); err != nil {
		return err
	}
	return removeTree(s.volumesDir(), name)
}

// VolumeUsers gives the containers that mount the volume, running or not.
func (s *Store) VolumeUsers(name string) ([]runner.Container, error) {
	all, err := s.List()
	return slices.DeleteFunc(all, func(rec runner.Container) bool {
		return !slices.ContainsFunc(rec.Mounts, func(m runner.Mount) bool {
			return m.Kind == runner.MountVolume && m.Source == name
		})
	}), err
}

func (s *Store) volumesDir() string { return filepath.Join(s.data, "volumes") }

func (s *Store) volumeRecord(name string) string {
	return filepath.Join(s.volumesDir(), name, "volume.json")
}

func (s *Store) lockVolumes() (unlock func(), err error) {
	if err := mkdirs(s.data); err != nil {
		return nil, err
	}
	// Containers have their volumes bound; no other user of the host is to come
	// by this way.
	if err := os.MkdirAll(s.volumesDir(), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.volumesDir(), ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock volumes: %w", err)
	}
	if err := ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }); err != nil {
		return nil, errors.Join(fmt.Errorf("lock volumes: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}
