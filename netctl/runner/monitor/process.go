package monitor

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a monitor that we have executed.
//
// It is no os.Process: before package os makes its first one it forks a child to see
// what pidfds can do here (os.checkPidfd), and the monitor would have to wait for
// that, 0.3 to 0.9 ms.
type Process struct {
	pid int
	mu  sync.Mutex
	fd  int // pidfd, -1 once it is reaped
}

// burial is how long the last threads of a process that has ended may take to go.
const burial = 200 * time.Microsecond

// startProcess executes a program in a session and a mount namespace of its own. The
// files are its descriptors from 3 on; the first three are /dev/null.
func startProcess(path string, args, env []string, files ...*os.File) (*Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fds := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	p := &Process{}
	p.pid, err = syscall.ForkExec(path, args, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: fds,
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS, PidFD: &p.fd},
	})
	if err != nil {
		return nil, &os.PathError{Op: "execute", Path: path, Err: err}
	}
	return p, nil
}

// Signal sends a signal. It is no error if the process has ended.
func (p *Process) Signal(s unix.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil
	}
	err := unix.PidfdSendSignal(p.fd, s, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal the monitor: %w", err)
	}
	return nil
}

// Wait waits for the end of the process and takes it out of the table of processes.
// It is called once.
//
// Not both at once: the kernel lets the parent know of the end while on other
// processors the threads still take away what was looked up about them below
// /proc/PID, and who reaps at that moment spins until they are through
// (shrink_dcache_parent: some 2 ms, where this takes a tenth).
func (p *Process) Wait() {
	awaitEnd(p.fd)
	time.Sleep(burial)
	for {
		_, err := unix.Wait4(p.pid, nil, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = unix.Close(p.fd)
	p.fd = -1
}

// awaitEnd waits until the pidfd can be read.
func awaitEnd(pidfd int) {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
