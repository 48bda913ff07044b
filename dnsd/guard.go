package dnsd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// A guard runs the resolver in a process of its own and starts it again when
// it is killed or crashes. The plugins that start a resolver are gone a moment
// later, and without a guard nobody would notice until the next container:
// until then no name would resolve. Under systemd there is no need for one.
type guard struct {
	args   []string
	stderr io.Writer
	signal chan os.Signal
}

const (
	// crashStatus is how Go programs end that panic; every other status was
	// chosen, and stands.
	crashStatus = 2
	// quickLife is a life too short to have been of use. After maxQuick of
	// them in a row the guard gives up; between them it waits longer each time.
	quickLife  = time.Second
	maxQuick   = 6
	firstPause = 50 * time.Millisecond
)

func newGuard(args []string, stderr io.Writer) *guard {
	g := &guard{args: args, stderr: stderr, signal: make(chan os.Signal, 1)}
	signal.Notify(g.signal, syscall.SIGTERM, syscall.SIGINT)
	return g
}

// run returns the exit status of the last resolver. The first one gets the
// descriptor on which somebody waits.
func (g *guard) run(ready *os.File) int {
	for quick := 0; quick < maxQuick; {
		born := time.Now()
		status, killed := g.once(ready)
		ready = nil
		if !killed {
			return status
		}
		if time.Since(born) > quickLife {
			quick = 0
			continue
		}
		if quick > 0 {
			time.Sleep(firstPause << quick)
		}
		quick++
	}
	fmt.Fprintf(g.stderr, "dnsd: killed %d times within %s each, giving up\n", maxQuick, quickLife)
	return 1
}

// once runs one resolver to its end.
func (g *guard) once(ready *os.File) (status int, killed bool) {
	args := g.args
	cmd := exec.Command("/proc/self/exe")
	if ready != nil {
		args = append(args[:len(args):len(args)], "--ready-fd", "3")
		cmd.ExtraFiles = []*os.File{ready}
		defer ready.Close() //nolint:errcheck // the child has its own
	}
	cmd.Args = append([]string{os.Args[0]}, append(args[:len(args):len(args)], "--guarded")...)
	cmd.Stderr = g.stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(g.stderr, "dnsd: %v\n", err)
		return 1, false
	}
	if ready != nil {
		ready.Close() //nolint:errcheck // else nobody would see the child's end
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	asked := false
	for {
		select {
		case s := <-g.signal:
			asked = true
			cmd.Process.Signal(s) //nolint:errcheck // it has ended, then
		case err := <-ended:
			status, killed = cause(err)
			return status, killed && !asked
		}
	}
}

// cause tells an end that the resolver chose from one that it did not.
func cause(err error) (status int, killed bool) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, false
	case !errors.As(err, &exit):
		return 1, false
	}
	status = exit.ExitCode()
	return status, status == -1 || status == crashStatus
}
