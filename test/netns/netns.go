// Package netns makes private network namespaces for tests and benchmarks: a
// "host" to run plugins in, and containers. A namespace lives as long as it is
// open; nothing is mounted, so nothing can be left behind.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace held by a descriptor.
type Namespace struct {
	file *os.File
}

// New makes a namespace with lo up.
func New() (*Namespace, error) {
	n, err := NewDown()
	if err != nil {
		return nil, err
	}
	return n, n.Run("ip", "link", "set", "lo", "up")
}

// NewDown makes a namespace as a container runtime does, with lo down, on a
// thread of its own, which ends with it.
func NewDown() (*Namespace, error) {
	type answer struct {
		file *os.File
		err  error
	}
	done := make(chan answer)
	go aside(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- answer{err: fmt.Errorf("make network namespace: %w", err)}
			return
		}
		file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		done <- answer{file, err}
	})
	a := <-done
	if a.err != nil {
		return nil, a.err
	}
	return &Namespace{a.file}, nil
}

// Path leads to the namespace for as long as this process has it open.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Close gives the namespace up.
func (n *Namespace) Close() error { return n.file.Close() }

// Do runs fn on a thread inside the namespace. Processes and sockets that fn
// makes belong to it. A test that ends inside fn (t.Fatal) is an error.
func (n *Namespace) Do(fn func() error) error {
	done := make(chan error, 2)
	go aside(func() {
		defer func() { done <- errors.New("ended inside the namespace") }()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- fn()
	})
	return <-done
}

// aside runs fn on a thread that ends with it, and that is not the process's
// first: /proc/self tells of that one's namespace.
func aside(fn func()) {
	runtime.LockOSThread() // and never unlocked: the thread is spoilt
	if unix.Gettid() != unix.Getpid() {
		fn()
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); aside(fn) }()
	<-done
	runtime.UnlockOSThread()
}

// Run runs a command inside and returns an error that shows what it said.
func (n *Namespace) Run(name string, args ...string) error {
	_, err := n.Output(name, args...)
	return err
}

// Output is Run with what the command printed.
func (n *Namespace) Output(name string, args ...string) (string, error) {
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		return string(out), fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// inside is set for a test binary that has its namespace already.
const inside = "NETCTL_TEST_IN_NETNS"

// RunTests is a TestMain for packages whose tests use loopback alone: it runs
// them in a network namespace of their own, by starting the test binary again,
// so that every port and address is theirs. It returns the exit status.
func RunTests(m *testing.M) int {
	if os.Getenv(inside) != "" {
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	n, err := New()
	if err == nil {
		defer n.Close()
		err = n.Do(cmd.Run) // on a thread that lasts as long as the child
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "run the tests in a network namespace: %v\n", err)
		return 1
	}
	return 0
}
