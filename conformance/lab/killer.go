package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// KillerName is the name the program is started under to run another one under
// ptrace and end it at a system call.
const KillerName = "conformance-killer"

// countFile is where the killer writes how many system calls a program that
// ran to its end has made.
const countFile = StateDir + "/system-calls"

// RunAndKill is main of the killer: the arguments are the number of the system
// call to die at (0 for none) and the program. Calls of all its threads and
// children count. When the number is reached the killer exits, and because
// of PTRACE_O_EXITKILL the kernel ends everything it traces at that boundary:
// the call has not happened yet.
func RunAndKill(args []string, stderr io.Writer) int {
	at, err := strconv.Atoi(args[0])
	if err != nil || len(args) < 2 {
		fmt.Fprintln(stderr, "conformance killer: want a number and a program")
		return 2
	}
	runtime.LockOSThread()
	exit, count, err := trace(args[1:], at)
	if err != nil {
		fmt.Fprintf(stderr, "conformance killer: %v\n", err)
		return 2
	}
	if at == 0 {
		if err := os.WriteFile(countFile, []byte(strconv.Itoa(count)), 0o600); err != nil {
			fmt.Fprintf(stderr, "conformance killer: %v\n", err)
			return 2
		}
	}
	return exit
}

// traceOptions follow every thread and child, and mark system call stops.
const traceOptions = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC

// sysgood is how TRACESYSGOOD marks a stop at a system call.
const sysgood = unix.SIGTRAP | 0x80

func trace(argv []string, at int) (exit, count int, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	pid := cmd.Process.Pid
	if err := wait(pid); err != nil {
		return 0, 0, fmt.Errorf("wait for the first stop: %w", err)
	}
	if err := unix.PtraceSetOptions(pid, traceOptions); err != nil {
		return 0, 0, fmt.Errorf("set trace options: %w", err)
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return 0, 0, fmt.Errorf("continue: %w", err)
	}
	stops := 0
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("wait: %w", err)
		}
		if tid == pid && (ws.Exited() || ws.Signaled()) {
			return ws.ExitStatus(), stops / 2, nil
		}
		if !ws.Stopped() {
			continue
		}
		if ws.StopSignal() == sysgood {
			// A call stops twice, on the way in and on the way out.
			if stops++; at > 0 && stops/2 >= at {
				os.Exit(137)
			}
		}
		unix.PtraceSyscall(tid, pass(ws))
	}
}

// wait waits for one stop of one process.
func wait(pid int) error {
	var ws unix.WaitStatus
	_, err := unix.Wait4(pid, &ws, unix.WALL, nil)
	return err
}

// pass is the signal to hand on to a stopped thread: none when the stop is the
// tracer's own doing.
func pass(ws unix.WaitStatus) int {
	switch ws.StopSignal() {
	case sysgood, unix.SIGTRAP, unix.SIGSTOP:
		return 0
	}
	return int(ws.StopSignal())
}

// Killer puts the killer in front of a plugin: the path to execute instead.
func (h *Host) Killer() (string, error) {
	path := StateDir + "/" + KillerName
	return path, h.Do(func() error {
		if err := os.Symlink(h.self, path); err != nil && !os.IsExist(err) {
			return err
		}
		return nil
	})
}

// SystemCalls is how many calls the last program made that the killer let run
// to its end.
func (h *Host) SystemCalls() (int, error) {
	b, err := h.ReadFile(countFile)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(trimmed(b))
}
