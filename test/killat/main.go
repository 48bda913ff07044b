// Command killat runs a program and kills it at the Nth system call by which it could
// change anything: the fault injection of tests. The calls of all its threads and
// children are counted in the order in which they begin, and the one at which the
// program dies is not carried out. As nothing changes between two such calls,
// trying each of them tries every state in which a killed program can leave the
// machine.
//
//	killat -at N [-child] program [argument...]
//
// With -child only the calls of its children count, and the child that makes the
// Nth is killed instead of the program.
//
// The exit status is 137 if something was killed, else the program's; the last
// line on standard error tells the call, or how many there were.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// killed is the exit status that shells give for SIGKILL.
const killed = 137

func main() {
	runtime.LockOSThread() // ptrace belongs to a thread, and so does exec
	if os.Args[0] == becomes {
		fmt.Fprintln(os.Stderr, become(os.Args))
		os.Exit(2)
	}
	at := flag.Int("at", 0, "the number of the call at which to kill; 0 only counts")
	child := flag.Bool("child", false, "count children's calls, and kill the child")
	flag.Parse()
	status, err := run(&tracer{at: *at, child: *child}, flag.Args())
	if err != nil {
		fmt.Fprintf(os.Stderr, "killat: %v\n", err)
		os.Exit(2)
	}
	os.Exit(status)
}

func run(t *tracer, argv []string) (status int, err error) {
	if len(argv) == 0 {
		return 0, errors.New("want a program to run")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	if err := t.start(path, argv); err != nil {
		return 0, fmt.Errorf("start %s: %w", path, err)
	}
	status, err = t.follow()
	if err != nil {
		return 0, fmt.Errorf("follow %s: %w", path, err)
	}
	if t.victim != "" {
		fmt.Fprintf(os.Stderr, "killat: %d: %s\n", t.at, t.victim)
		return killed, nil
	}
	fmt.Fprintf(os.Stderr, "killat: %d calls\n", t.count)
	return status, nil
}

// start runs the program. It is followed from its first instruction on: a copy of
// killat waits until it is traced and then becomes the program.
//
// PTRACE_SEIZE, because what is attached to in another way is stopped for good if
// we end before we have met it, as may a daemon that the program started.
func (t *tracer) start(path string, argv []string) error {
	wait, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wait.Close()
	defer ready.Close()
	p, err := os.StartProcess("/proc/self/exe", append([]string{becomes, path}, argv...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, wait}, Env: os.Environ(),
	})
	if err != nil {
		return err
	}
	t.root = p.Pid
	const seize = 0x4206 // linux/ptrace.h
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, seize, uintptr(t.root), 0, options, 0, 0); errno != 0 {
		return errno
	}
	_, err = ready.Write([]byte{1})
	return err
}

// becomes is the name by which killat starts itself.
const becomes = "killat-becomes"

// become waits to be traced, and then is the program that its arguments name.
func become(args []string) error {
	if _, err := os.NewFile(3, "pipe").Read(make([]byte, 1)); err != nil {
		return err
	}
	unix.CloseOnExec(3)
	return unix.Exec(args[1], args[2:], os.Environ())
}
