package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// NameTakenError says who has the name.
type NameTakenError struct {
	Name   string
	Holder runner.ID
}

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("the name %s is already used by container %s", e.Name, e.Holder.Short())
}

// Create makes the record of a new container and takes its name. On an error
// nothing is left. The name comes last: whatever a kill leaves behind is then
// either listed, or a directory that Sweep removes, and holds no name.
func (s *Store) Create(cfg *runner.Config) error {
	dir := s.Dir(cfg.ID)
	if err := mkdirs(s.containersDir(), filepath.Dir(s.namePath(cfg.Name))); err != nil {
		return err
	}
	if err := s.nameTaken(cfg.Name); err != nil { // before the disk is bothered
		return err
	}
	making, err := s.lockContainers(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer making.Close()
	mode := fs.FileMode(0o700)
	if cfg.Userns.Own() {
		mode = 0o711 // its root is no root here, and on the way to its files
	}
	err = os.Mkdir(dir, mode)
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		return fmt.Errorf("create container %s: %w", cfg.ID.Short(), err)
	}
	err = s.createRecord(cfg)
	if err == nil {
		err = s.takeName(cfg.Name, cfg.ID)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir), s.removeRunDir(cfg.ID))
	}
	return nil
}

// createRecord writes the first state, then the request: with that the container
// is there. A record that is meant to stay must survive a power cut.
func (s *Store) createRecord(cfg *runner.Config) error {
	dir := s.recordDirFor(cfg)
	if err := mkdirs(dir); err != nil {
		return err
	}
	err := writeJSON(filepath.Join(dir, stateFile), runner.State{Status: runner.StatusCreated}, false)
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, configFile), cfg, !cfg.AutoRemove)
}

// Load reads one record.
func (s *Store) Load(id runner.ID) (runner.Container, error) {
	var c runner.Container
	err := readJSON(s.configPath(id), &c.Config)
	if errors.Is(err, fs.ErrNotExist) || !s.hasDir(id) { // a removal begins with the directory
		return c, &NotFoundError{Ref: string(id)}
	}
	if err != nil {
		return c, fmt.Errorf("read container %s: %w", id.Short(), err)
	}
	// A state cut short by a power cut is the state of a process that died
	// with it, so it reads as "running"; the free lock tells the rest.
	if err := readJSON(s.statePath(id), &c.State); err != nil {
		c.State = runner.State{Status: runner.StatusRunning}
	}
	if c.State.Status == runner.StatusRunning {
		if _, err := os.Lstat(s.pausedPath(id)); err == nil {
			c.State.Status = runner.StatusPaused
		}
	}
	return c, nil
}

// SetPaused notes that the processes of a running container are frozen. It is
// not part of the state, which is the monitor's to write, and which a monitor
// that ends overrides.
func (s *Store) SetPaused(id runner.ID, paused bool) error {
	if paused {
		return os.WriteFile(s.pausedPath(id), nil, 0o600)
	}
	if err := os.Remove(s.pausedPath(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SetState replaces the state. The caller holds the container's lock.
func (s *Store) SetState(id runner.ID, st runner.State) error {
	// States that claim a process are void after a power cut; an end is not.
	err := writeJSON(s.statePath(id), st, st.Status == runner.StatusExited)
	if NoRoom(err) && overwriteJSON(s.statePath(id), st) == nil {
		return nil
	}
	return err
}

// NoRoom: a disk, a quota or the table of inodes is full.
func NoRoom(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// overwriteJSON puts v into the blocks that the file has, which takes no room: how a
// container ended is to be known on a full disk, too. A power cut may leave half of it,
// which Load takes for a state that is void.
func overwriteJSON(path string, v any) error {
	const block = 4096 // the smallest usual one
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if has := (st.Size() + block - 1) / block * block; int64(len(text)) > has {
		return fmt.Errorf("write %s: %w", path, unix.ENOSPC)
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// SetConfig replaces the configuration. The caller holds the container's lock.
func (s *Store) SetConfig(cfg *runner.Config) error {
	return writeJSON(s.configPath(cfg.ID), cfg, !cfg.AutoRemove)
}

// Rename takes the new configuration's name, calls between, writes the
// configuration and gives the old name back. On an error it is as before. The
// caller holds the container's lock.
func (s *Store) Rename(old, renamed *runner.Config, between func() error) error {
	if err := runner.CheckName(renamed.Name); err != nil {
		return err
	}
	if old.Name == renamed.Name {
		return fmt.Errorf("container %s has this name already", old.Name)
	}
	if err := s.nameTaken(renamed.Name); err != nil {
		return err
	}
	if err := s.takeName(renamed.Name, renamed.ID); err != nil {
		return err
	}
	err := between()
	if err == nil {
		err = s.SetConfig(renamed)
	}
	if err != nil {
		return errors.Join(err, s.dropName(renamed.Name, renamed.ID))
	}
	return s.dropName(old.Name, old.ID)
}

// SetSpec keeps the specification the container is run with.
func (s *Store) SetSpec(id runner.ID, spec any) error {
	return writeJSON(s.SpecPath(id), spec, false)
}

// Spec reads what SetSpec wrote into spec.
func (s *Store) Spec(id runner.ID, spec any) error { return readJSON(s.SpecPath(id), spec) }

// List reads all records, in no particular order. A directory without a
// record is a container in the making, or a leftover; it is not listed.
func (s *Store) List() ([]runner.Container, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	list := make([]runner.Container, 0, len(ids))
	for _, id := range ids {
		c, err := s.Load(id)
		var missing *NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func (s *Store) ids() ([]runner.ID, error) {
	entries, err := os.ReadDir(s.containersDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []runner.ID
	for _, e := range entries {
		if id, err := runner.ParseID(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path in one step. With sync the content is on the disk
// before the name points to it.
func writeJSON(path string, v any, sync bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, reason(err))
	}
	err = json.NewEncoder(f).Encode(v)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, reason(err)), os.Remove(f.Name()))
	}
	return nil
}

// reason is an error without the name of a file that nobody knows.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func mkdirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return err
		}
	}
	return nil
}
