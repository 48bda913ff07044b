package kernel

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketIn opens a socket of rtnetlink in another namespace; own is that of the
// calling thread, and where it is again afterwards.
//
// A goroutine that enters a namespace must have a thread to itself, for which
// the runtime starts two more and switches between them: a tenth of a
// millisecond. These few system calls are over sooner. The goroutine can't be
// moved to another thread between them: they don't tell the scheduler, and
// the signal by which it would interrupt is blocked.
func socketIn(ns, own int) (int, error) {
	fd, step, errno := visit{ns: uintptr(ns), own: uintptr(own)}.socket()
	switch step {
	case stepEnter:
		return -1, fmt.Errorf("enter network namespace: %w", errno)
	case stepOpen:
		return -1, fmt.Errorf("open netlink: %w", errno)
	case stepLeave: // to go on would change the wrong namespace
		panic(fmt.Sprintf("leave network namespace: %v", errno))
	}
	return int(fd), nil
}

// The steps of a visit, to tell which one failed.
const (
	stepNone = iota
	stepEnter
	stepOpen
	stepLeave
)

// visit is what socketIn does, in the words of system calls.
type visit struct{ ns, own uintptr }

//go:nosplit
//go:norace
func (v visit) socket() (fd uintptr, failed int, errno syscall.Errno) {
	before := blockSignals()
	// The way back is tried before it is needed: who may enter his own namespace
	// from there may do so from the other one.
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, v.own, unix.CLONE_NEWNET, 0); errno == 0 {
		_, _, errno = syscall.RawSyscall(unix.SYS_SETNS, v.ns, unix.CLONE_NEWNET, 0)
	}
	if errno != 0 {
		failed = stepEnter
	} else {
		fd, _, errno = syscall.RawSyscall(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if errno != 0 {
			failed = stepOpen
		}
		if _, _, left := syscall.RawSyscall(unix.SYS_SETNS, v.own, unix.CLONE_NEWNET, 0); left != 0 {
			failed, errno = stepLeave, left
		}
	}
	restoreSignals(before)
	return fd, failed, errno
}
