package namespace

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// NewUser makes a user namespace with the given ids. It lives as long as the
// file, or something that belongs to it, is kept.
func NewUser(ids user.IdentityMapping) (*os.File, error) {
	var ns *os.File
	err := inUser(ids, 0, func(proc string) (err error) {
		ns, err = os.Open(proc + "/ns/user")
		return err
	})
	return ns, err
}

// OwnerOf opens the user namespace that the network namespace at path belongs
// to (ioctl_ns(2)). It is refused to those outside of its line of descent.
func OwnerOf(path string) (*os.File, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	fd, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return nil, fmt.Errorf("owner of network namespace %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), "owner of "+path), nil
}

// inUser makes a process in a user namespace, and in further ones that belong to
// it, and calls f with its directory in /proc. The process never runs: tracing
// stops it at its first instruction, where it has all its namespaces.
func inUser(ids user.IdentityMapping, further uintptr, f func(proc string) error) error {
	p, err := os.StartProcess("/proc/self/exe", []string{"netctl"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | further,
		UidMappings:                systemMap(ids.UIDMaps),
		GidMappings:                systemMap(ids.GIDMaps),
		GidMappingsEnableSetgroups: true,
		Ptrace:                     true,
	}})
	if err != nil {
		return fmt.Errorf("create user namespace: %w", explainUser(err))
	}
	err = f("/proc/" + strconv.Itoa(p.Pid))
	killed := p.Kill()
	_, _ = p.Wait()
	return errors.Join(err, killed)
}

// explainUser says what an error number of clone(2) means in this place.
func explainUser(err error) error {
	limit, _ := os.ReadFile("/proc/sys/user/max_user_namespaces")
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("the kernel allows no more (sysctl user.max_user_namespaces is %s): %w", strings.TrimSpace(string(limit)), err)
	case errors.Is(err, unix.EINVAL) && limit == nil:
		return fmt.Errorf("the kernel is built without user namespaces: %w", err)
	}
	return err
}

func systemMap(ids []user.IDMap) []syscall.SysProcIDMap {
	var out []syscall.SysProcIDMap
	for _, m := range ids {
		out = append(out, syscall.SysProcIDMap{ContainerID: int(m.ID), HostID: int(m.ParentID), Size: int(m.Count)})
	}
	return out
}
