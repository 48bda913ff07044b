package dnsd

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// servingCapabilities are what a resolver needs of root's power: port 53,
	// and binding to a device, for which kernels before 5.7 ask NET_RAW.
	servingCapabilities = 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_RAW
	// startingCapabilities are what one needs that starts anew, and its guard
	// keeps for it: to enter the containers that are served in their own
	// namespaces, also where these are found by a process in them; and to give
	// all this up for good (SETPCAP).
	startingCapabilities = servingCapabilities | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_SETPCAP
)

// dropCapabilities gives up all but some, in every thread and for every program
// that could be executed from here. Files are still reached as root's own.
func dropCapabilities(keep uint32) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		if errors.Is(errno, syscall.ENOTSUP) {
			return errors.New("this binary is linked with C code, whose threads Go can't reach (build with CGO_ENABLED=0)")
		}
		return fmt.Errorf("no new privileges: %w", errno)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		// EINVAL: the kernel knows no such capability. EPERM: we may not drop
		// it, and then do not have what it takes to have it.
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if errno != 0 && errno != unix.EINVAL && errno != unix.EPERM {
			return fmt.Errorf("drop capability %d: %w", c, errno)
		}
	}
	return setCapabilities(keep)
}

// setCapabilities leaves those of a set that we have.
func setCapabilities(keep uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	keep &= data[0].Permitted
	data = [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("set capabilities: %w", errno)
	}
	return nil
}
