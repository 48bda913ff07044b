// Package ahead does what a command has to do before it is a command: for `netctl
// run` the longest wait of the whole start (package grace) begins here, 1.5 ms
// before main.
//
// Nearly all of these are the initialisation of the packages that make up the
// program. Of those that can be initialised the one whose import path sorts first
// is (Go's specification, "Program initialization"); so what is to come early must
// depend on little, which is why this reads its arguments from the kernel.
// TestFirst sees that it stays so.
package ahead

import (
	"syscall"

	"github.com/netctl/netctl/netctl/runner/grace"
)

// There is no other place before the other packages than a package's own
// initialisation. A wrong guess does no harm: the command begins the wait itself.
func init() {
	if isRun(arguments()) {
		grace.Begin()
	}
}

// arguments are as much of the process's as matters, each ended by a zero byte
// (proc_pid_cmdline(5)).
func arguments() []byte {
	fd, err := syscall.Open("/proc/self/cmdline", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	buffer := make([]byte, 512)
	n, _ := syscall.Read(fd, buffer)
	return buffer[:max(n, 0)]
}

// isRun tells whether the first argument after the program's name is "run".
func isRun(arguments []byte) bool {
	const run = "run\x00"
	for i, b := range arguments {
		if b == 0 {
			rest := arguments[i+1:]
			return len(rest) >= len(run) && string(rest[:len(run)]) == run
		}
	}
	return false
}
