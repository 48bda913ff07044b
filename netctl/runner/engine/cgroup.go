//go:build linux && cgo && seccomp

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// The parent cgroup ("/netctl") is made with the first container and removed
// with the last. The library makes a path step by step, so a removal of the
// parent between two steps of another start would break that start. Hence a
// lock on the mounted root itself: shared while starting, exclusive (without
// waiting) while removing. There it serves all state directories of a host,
// which share the parent.

// holdCgroups keeps parents of cgroups in place until unlock.
func holdCgroups() (unlock func(), err error) { return lockCgroups(unix.LOCK_SH) }

func lockCgroups(how int) (unlock func(), err error) {
	f, err := os.Open(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("no cgroups on this machine: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", cgroupRoot, err)
	}
	return func() { f.Close() }, nil
}

// cgroupUmask lets everybody pass through the cgroups that libcontainer makes
// with it, as systemd's do: with cgroup v2 a root that is nobody on the host
// walks them when it mounts its own (kernel: cgroup_do_get_tree looks the path
// up with the caller's rights).
const cgroupUmask = 0o022

// errNoCgroups: nothing is mounted that the library could work with. It has a text
// for it and no name.
var errNoCgroups = errors.New("this machine has no control groups mounted: want them at " + cgroupRoot +
	" (mount -t cgroup2 cgroup2 " + cgroupRoot + ")")

func named(err error) error {
	if err != nil && strings.Contains(err.Error(), "no cgroup mount found in mountinfo") {
		return errNoCgroups
	}
	return err
}

// cgroupAt is the manager for a cgroup by its path below the mounted root,
// whether or not a container's state is left.
func cgroupAt(path string) (cgroups.Manager, error) {
	m, err := manager.New(&cgroups.Cgroup{Path: path, Resources: &cgroups.Resources{}})
	return m, named(err)
}

// Remove takes away what is left of a container: processes, cgroup, state.
// It may be repeated and does not need the state to be there: cgroup is the
// path in the specification the container was started with.
func (e Engine) Remove(id, cgroup string) error {
	m, err := cgroupAt(cgroup)
	if errors.Is(err, errNoCgroups) {
		return os.RemoveAll(filepath.Join(e.Root, id)) // no container can have been started
	}
	if err != nil {
		return err
	}
	if err := e.killAll(id, m); err != nil {
		return err
	}
	parents := parentsOf(m.GetPaths())
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup %s: %w", cgroup, err)
	}
	removeEmpty(parents)
	return os.RemoveAll(filepath.Join(e.Root, id))
}

// Remove relies on the PID namespace: its processes have died with the first. The
// one that may be left is an exec that hasn't entered it yet; Engine.Remove kills
// by cgroup. (The library would try for ten seconds to remove a cgroup in use.)
func (c container) Remove() error {
	if pids, err := c.Pids(); err != nil || len(pids) > 0 {
		return errors.Join(err, fmt.Errorf("cgroup has processes %v", pids))
	}
	state, err := c.c.State()
	if err != nil {
		return err
	}
	if err := c.c.Destroy(); err != nil {
		return err
	}
	removeEmpty(parentsOf(state.CgroupPaths))
	return nil
}

// parentsOf are the directories that the cgroups are in.
func parentsOf(paths map[string]string) []string {
	parents := make([]string, 0, len(paths))
	for _, p := range paths {
		parents = append(parents, filepath.Dir(p))
	}
	return parents
}

// killAll ends every process of the container and waits for the end.
func (e Engine) killAll(id string, m cgroups.Manager) error {
	var pids []int
	if c, err := libcontainer.Load(e.Root, id); err == nil {
		// The first process alone is enough: its PID namespace dies with it.
		// Signal checks that the PID is still the same process.
		if err := c.Signal(unix.SIGKILL); err != nil && !errors.Is(err, libcontainer.ErrNotRunning) {
			return err
		}
	}
	// Killed before the state was written: only the cgroup knows them.
	pids, err := m.GetAllPids()
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("list processes of %s: %w", id, err)
	}
	return killPids(pids)
}

// killPids kills by pidfd and waits until each is dead. A frozen process dies
// when it thaws; Load().Signal has seen to that.
func killPids(pids []int) error {
	var errs []error
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("open process %d: %w", pid, err))
			continue
		}
		errs = append(errs, killPidfd(fd), unix.Close(fd))
	}
	return errors.Join(errs...)
}

func killPidfd(fd int) error {
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// removeEmpty removes the parents that have become empty. If another start is
// under way it leaves them; that container's end will remove them.
func removeEmpty(parents []string) {
	unlock, err := lockCgroups(unix.LOCK_EX | unix.LOCK_NB)
	if err != nil {
		return
	}
	defer unlock()
	for _, p := range parents {
		if isMountRoot(p) {
			continue
		}
		_ = unix.Rmdir(p) // EBUSY: others are in it
	}
}

// isMountRoot: the cgroup was asked for directly below a hierarchy's root.
func isMountRoot(p string) bool {
	return p == cgroupRoot || filepath.Dir(p) == cgroupRoot && !cgroups.IsCgroup2UnifiedMode()
}

func (c container) OOMKilled() bool {
	state, err := c.c.State()
	if err != nil {
		return false
	}
	m, err := manager.NewWithPaths(state.Config.Cgroups, state.CgroupPaths)
	if err != nil {
		return false
	}
	n, err := m.OOMKillCount()
	return err == nil && n > 0
}
