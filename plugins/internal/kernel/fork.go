package kernel

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An errand is what a forked child does: it sends a datagram, lingers, and ends.
// Each of these can be left out.
type errand struct {
	socket   int // to send on; the datagram is nil if there is nothing to send
	datagram []byte
	// keep is a descriptor that the child has until its end, 0 for none.
	keep   int
	linger time.Duration
}

// run forks the child. It is not a Go program any more: of the parent's threads only the calling one
// exists in it, so nothing may run that could wait for another thread, no
// allocation, no growing of the stack. What it does is therefore a handful of
// raw system calls, prepared here.
//
// The child has no descriptor but these two: a runtime that reads a plugin's
// output waits until everybody has closed it, and a flock lasts as long as
// anybody has its file open.
func (e errand) run() (child int, errno syscall.Errno) {
	w := work{
		socket: uintptr(e.socket), datagram: unsafe.Pointer(unsafe.SliceData(e.datagram)), length: uintptr(len(e.datagram)),
		to:   unix.RawSockaddrNetlink{Family: unix.AF_NETLINK},
		keep: uintptr(e.keep), firstClosed: 1,
		linger: unix.NsecToTimespec(int64(e.linger)),
	}
	if e.keep != 0 {
		w.firstClosed = 2
	}
	return fork(&w)
}

// work is an errand in the words of system calls.
type work struct {
	socket      uintptr
	datagram    unsafe.Pointer
	length      uintptr
	to          unix.RawSockaddrNetlink
	keep        uintptr
	firstClosed uintptr
	linger      unix.Timespec
}

//go:nosplit
//go:norace
func fork(w *work) (int, syscall.Errno) {
	before := blockSignals() // the child never takes any: their handlers are Go
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		syscall.RawSyscall(unix.SYS_DUP3, w.socket, 0, 0)
		syscall.RawSyscall(unix.SYS_DUP3, w.keep, 1, 0)
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, w.firstClosed, ^uintptr(0)>>32, 0)
		if w.datagram != nil {
			syscall.RawSyscall6(unix.SYS_SENDTO, 0, uintptr(w.datagram), w.length, 0, uintptr(unsafe.Pointer(&w.to)), unix.SizeofSockaddrNetlink)
		}
		syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&w.linger)), 0, 0)
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	restoreSignals(before)
	return int(pid), errno
}
