// Package grace begins the longest wait in a container's start before there is
// anything to start.
//
// Who moves a process into a cgroup locks all forks out (cgroup_threadgroup_rwsem,
// for all hierarchies of the host). The lock is cheap for those who fork, so its
// writer first waits for an RCU grace period, 5 to 15 ms, unless there was another
// writer not long ago: for one more grace period the kernel keeps the lock in the
// state that it waits for (rcu_sync_exit).
//
// It imports syscall and nothing else, for the sake of package ahead.
package grace

import "syscall"

// cgroupRoot is where cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// Begin prepares the kernel for a container's start that follows within some 20 ms,
// and returns at once: the wait for the lock goes by meanwhile. It may be repeated,
// and changes nothing: we move ourselves to where we are.
func Begin() { go moveNowhere() }

// moveNowhere writes our own number into the first of our cgroups that can be
// found. Whether the kernel then refuses does not matter: the lock comes first.
func moveNowhere() {
	rest := read("/proc/self/cgroup")
	for rest != "" {
		var line string
		line, rest = cut(rest, '\n')
		fd, err := syscall.Open(ownProcs(line), syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_, _ = syscall.Write(fd, []byte("0"))
		_ = syscall.Close(fd)
		return
	}
}

// ownProcs is the list of processes of the cgroup in a line of /proc/self/cgroup,
// "HIERARCHY:CONTROLLERS:PATH" (cgroups(7)).
func ownProcs(line string) string {
	const named = "name=" // a hierarchy without controllers, such as systemd's
	_, rest := cut(line, ':')
	hierarchy, path := cut(rest, ':')
	if len(hierarchy) > len(named) && hierarchy[:len(named)] == named {
		hierarchy = hierarchy[len(named):]
	}
	if hierarchy != "" { // version 2 has no name
		hierarchy = "/" + hierarchy
	}
	// What is above our cgroup namespace's root begins with as many "/..".
	for len(path) >= 3 && path[:3] == "/.." {
		path = path[3:]
	}
	if path == "/" {
		path = ""
	}
	return cgroupRoot + hierarchy + path + "/cgroup.procs"
}

// read reads a small file of /proc; nothing if that fails.
func read(path string) string {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = syscall.Close(fd) }()
	buffer := make([]byte, 4096)
	n, err := syscall.Read(fd, buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:n])
}

// cut divides text at the first separator.
func cut(text string, separator byte) (before, after string) {
	for i := range len(text) {
		if text[i] == separator {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}
