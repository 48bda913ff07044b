// Package grace begins the longest wait in a container's start before there is
// anything to start.
//
// Who moves a process into a cgroup locks all forks out (cgroup_threadgroup_rwsem,
// for all hierarchies of the host). The lock is cheap for those who fork, so its
// writer first waits for an RCU grace period, 5 to 15 ms, unless there was another
// writer not long ago: for one more grace period the kernel keeps the lock in the
// state that it waits for (rcu_sync_exit).
package grace

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// Begin prepares the kernel for a container's start that follows within some 20 ms,
// and returns at once: the wait for the lock goes by meanwhile. It may be repeated,
// and changes nothing: we move ourselves to where we are.
func Begin() { go moveNowhere() }

// moveNowhere writes our own number into the first of our cgroups that can be
// found. Whether the kernel then refuses does not matter: the lock comes first.
func moveNowhere() {
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(lines)) {
		fd, err := unix.Open(ownProcs(line), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_, _ = unix.Write(fd, []byte("0"))
		_ = unix.Close(fd)
		return
	}
}

// ownProcs is the list of processes of the cgroup in a line of /proc/self/cgroup,
// "HIERARCHY:CONTROLLERS:PATH" (cgroups(7)).
func ownProcs(line string) string {
	_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
	controllers, path, _ := strings.Cut(rest, ":")
	hierarchy := strings.TrimPrefix(controllers, "name=")                                 // "" is version 2
	return filepath.Join(cgroupRoot, hierarchy, filepath.Clean("/"+path), "cgroup.procs") // outside of our cgroup namespace it begins with "/.."
}
