// Package store keeps containers on disk: records, names and locks.
//
// Two roots, because some things must not outlive the boot and some must:
//
//	STATE/                           on tmpfs
//	  c/ID/lock                      held by the monitor all its life: held <=> alive
//	  c/ID/attach.sock               0600, the monitor's socket
//	  c/ID/paused                    there while the processes are frozen
//	  engine/ID/                     libcontainer's own state
//	  netns/ID                       the bound network namespace
//	  events                         what happened, a line each
//	DATA/
//	  c/ID/                          being there is the container's being there
//	  c/ID/log, log.1 ...            output
//	  c/ID/rw/{upper,work}           overlay
//	  c/ID/config.json               the request; changed by the holder of the lock
//	  c/ID/state.json                written by the holder of the lock
//	  c/ID/spec.json                 the OCI specification as run
//	  c/ID/monitor.log               what the monitor complained about
//	  c/ID/hosts hostname resolv.conf   bind-mounted into the container
//	  c/ID/merged                    the overlay's mount point
//	  names/NAME -> ID               a symbolic link: making it is taking the name
//	  volumes/NAME/_data
//	  ids.lock                       held while ids for a user namespace are chosen
//
// A container that is removed at its end (--rm) and has the host's ids has the
// files from config.json on in STATE/c/ID: it does not outlive the boot, and a
// dozen small files cost more on a disk than all else that a command does. What
// may grow, its output and its changes, is on the disk all the same. Once a boot has
// taken its record, its directory is a leftover, which Sweep deletes.
//
// The paths are computed in this file and nowhere else.
package store

import (
	"os"
	"path/filepath"

	"github.com/netctl/netctl/netctl/runner"
)

const (
	configFile = "config.json"
	stateFile  = "state.json"
)

// Store is the two roots. The zero value is not usable.
type Store struct{ state, data string }

// Open returns the store below the two directories. It touches nothing, so
// that a command which only prints help costs nothing.
func Open(stateDir, dataDir string) *Store {
	return &Store{state: filepath.Clean(stateDir), data: filepath.Clean(dataDir)}
}

// StateRoot and DataRoot are the roots themselves.
func (s *Store) StateRoot() string { return s.state }
func (s *Store) DataRoot() string  { return s.data }

// Dir is what remains of a container over a reboot, RunDir what does not.
func (s *Store) Dir(id runner.ID) string    { return filepath.Join(s.data, "c", string(id)) }
func (s *Store) RunDir(id runner.ID) string { return filepath.Join(s.state, "c", string(id)) }

// EngineRoot is shared by all containers; the engine makes ID below it.
func (s *Store) EngineRoot() string { return filepath.Join(s.state, "engine") }

// NetnsDir holds the bound namespaces, one file per container.
func (s *Store) NetnsDir() string              { return filepath.Join(s.state, "netns") }
func (s *Store) NetnsPath(id runner.ID) string { return filepath.Join(s.NetnsDir(), string(id)) }

// File is a file that belongs to a container's record, by one of the names above.
func (s *Store) File(id runner.ID, name string) string {
	return filepath.Join(s.recordDir(id), name)
}

// recordDir is where the record of a container is; for one without a record, where
// that of a container that is kept would be.
func (s *Store) recordDir(id runner.ID) string {
	if dir := s.RunDir(id); isThere(filepath.Join(dir, configFile)) {
		return dir
	}
	return s.Dir(id)
}

// recordDirFor is where the record of a new container goes.
func (s *Store) recordDirFor(cfg *runner.Config) string {
	// A root that is nobody on the host must be able to pass through to merged,
	// which DATA is made for.
	if cfg.AutoRemove && !cfg.Userns.Own() {
		return s.RunDir(cfg.ID)
	}
	return s.Dir(cfg.ID)
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// WorkDir holds a container's changes to its root file system, MergedDir is where
// its monitor mounts that.
func (s *Store) WorkDir(id runner.ID) string   { return filepath.Join(s.Dir(id), "rw") }
func (s *Store) MergedDir(id runner.ID) string { return s.File(id, "merged") }

// SpecPath is the OCI specification as run.
func (s *Store) SpecPath(id runner.ID) string { return s.File(id, "spec.json") }

// LogPath is the current log; older ones have .1, .2 behind.
func (s *Store) LogPath(id runner.ID) string { return filepath.Join(s.Dir(id), "log") }

// VolumePath is the directory a named volume stands for.
func (s *Store) VolumePath(name string) string {
	return filepath.Join(s.volumesDir(), name, "_data")
}

// SocketPath is where the monitor listens.
func (s *Store) SocketPath(id runner.ID) string { return filepath.Join(s.RunDir(id), "attach.sock") }

func (s *Store) pausedPath(id runner.ID) string { return filepath.Join(s.RunDir(id), "paused") }
func (s *Store) configPath(id runner.ID) string { return s.File(id, configFile) }
func (s *Store) statePath(id runner.ID) string  { return s.File(id, stateFile) }
func (s *Store) lockPath(id runner.ID) string   { return filepath.Join(s.RunDir(id), "lock") }
func (s *Store) namePath(name string) string    { return filepath.Join(s.data, "names", name) }
func (s *Store) containersDir() string          { return filepath.Join(s.data, "c") }
