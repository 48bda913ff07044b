//go:build linux && cgo && seccomp

package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// The reaper is this binary as a container's first process (--init): what tini
// is for docker, without a file that would have to be installed. As PID 1 it
// gets every orphan of the container and waits for it, and passes signals on to
// the program, which as an ordinary process dies of those it does not handle.
const (
	reaperPath     = "/proc/self/fd/3"
	reaperArgument = "--reap"
)

func reaperRequested(args []string) bool {
	return len(args) > 2 && args[0] == reaperPath && args[1] == reaperArgument && os.Getpid() == 1
}

// reap runs the program and returns its exit status, or as shells do 127 and 126
// if it can't be run.
func reap(args []string) int {
	signals := make(chan os.Signal, 128)
	signal.Notify(signals)
	// Our own file, and the pipe that tells the monitor we are ready.
	if err := errors.Join(unix.Close(3), unix.Close(4)); err != nil {
		fmt.Fprintln(os.Stderr, "init: close inherited files:", err)
		return StatusOwnFailure
	}
	// A background process that writes to the terminal would be stopped, and
	// that is what we are once the program has it.
	signal.Ignore(unix.SIGTTIN, unix.SIGTTOU)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A group of its own, in the foreground of the terminal if there is one:
	// ctrl-c is for the program.
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Foreground: err == nil, Ctty: 0}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOEXEC) {
			return StatusCannotExec
		}
		return StatusNotFound
	}
	for s := range signals {
		switch s {
		case unix.SIGCHLD:
			if status, ended := reapAll(cmd.Process.Pid); ended {
				return status
			}
		case unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU: // the Go runtime's own; see above
		default:
			_ = unix.Kill(cmd.Process.Pid, s.(unix.Signal)) // it may have ended
		}
	}
	return StatusOwnFailure
}

// reapAll waits for all that have ended, and tells how the program did.
func reapAll(program int) (status int, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid == 0:
			return status, ended
		case pid != program:
			continue
		case ws.Signaled():
			status, ended = 128+int(ws.Signal()), true
		default:
			status, ended = ws.ExitStatus(), true
		}
	}
}
