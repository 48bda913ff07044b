package kernel

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forkSend forks a child whose whole life is to send one datagram and end. It
// is not a Go program any more: of the parent's threads only the calling one
// exists in it, so nothing may run that could wait for another thread, no
// allocation, no growing of the stack. What it does is therefore a handful of
// raw system calls, prepared here.
//
// The child keeps no descriptor but the socket: a runtime that reads a
// plugin's output waits until everybody has closed it, and a flock lasts as
// long as anybody has its file open.
func forkSend(socket int, datagram []byte) (child int, errno syscall.Errno) {
	to := unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}
	// Signals wait until the child has gone its way: their handlers are Go.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	return fork(uintptr(socket), unsafe.Pointer(&datagram[0]), uintptr(len(datagram)), &to, &all, &old)
}

//go:nosplit
//go:norace
func fork(socket uintptr, datagram unsafe.Pointer, length uintptr, to *unix.RawSockaddrNetlink, all, old *unix.Sigset_t) (int, syscall.Errno) {
	const setSize = unsafe.Sizeof(*all)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(all)), uintptr(unsafe.Pointer(old)), setSize, 0, 0)
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		syscall.RawSyscall(unix.SYS_DUP3, socket, 0, 0)
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 1, ^uintptr(0)>>32, 0)
		syscall.RawSyscall6(unix.SYS_SENDTO, 0, uintptr(datagram), length, 0, uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrNetlink)
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(old)), 0, setSize, 0, 0)
	return int(pid), errno
}
