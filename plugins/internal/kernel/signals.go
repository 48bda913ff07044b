package kernel

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigset is the kernel's set of signals, of which there are 64. That of C, and of
// the library, has room for more, and rt_sigprocmask(2) refuses its size.
type sigset uint64

// blockSignals keeps all signals from the calling thread, also the one by which
// the runtime moves a goroutine to another thread, and returns those that were
// blocked before.
//
//go:nosplit
//go:norace
func blockSignals() (before sigset) {
	all := ^sigset(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&before)), unsafe.Sizeof(all), 0, 0)
	return before
}

// restoreSignals takes what blockSignals has returned.
//
//go:nosplit
//go:norace
func restoreSignals(before sigset) {
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&before)), 0, unsafe.Sizeof(before), 0, 0)
}
