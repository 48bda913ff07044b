// Package monitor is the process that makes one container, stays with it as the
// parent of its first process, and undoes it.
//
// It is a program of its own, netctl-monitor, executed by the command that starts
// the container, in a session and a mount namespace of its own:
//
//	netctl-monitor monitor STATE DATA ID
//	                                    fd 3  the host's mount namespace
//	                                    fd 4  the command: an order comes from there, the
//	                                          report goes there: started, or why not
//
// It is executed early, so that its own start goes by beside the command's work, and
// waits for the order (Order) with which it gets the container's lock. Until then it
// has touched nothing, and if the command ends without an order, so does it.
//
// The lock is its life: held means alive. The mount namespace keeps the
// container's root file system out of the host's mount table and takes it away
// whatever happens. Nothing else is in memory only: the state says what has to
// be released *before* it is made, so any later command can finish the work of a
// monitor that was killed (Release).
package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/runner/grace"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/store"
)

// Requested tells whether this process was started as a monitor, or by one; args are
// without the program's name.
func Requested(args []string) bool {
	return len(args) == 4 && (args[0] == argument || args[0] == argumentCheck) && os.Getenv(environment) != ""
}

// Main is the monitor's main function. networks is asked once for how to attach containers;
// it may log to the container's own log of trouble. Main returns the process's
// exit status, which nobody looks at.
func Main(args []string, networks func(*slog.Logger) runner.Networks) int {
	if args[0] == argumentCheck {
		return runCheck(args)
	}
	grace.Begin()
	m, err := inherit(args, networks)
	if errors.Is(err, errNoOrder) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, Program+":", err)
		return 1
	}
	m.protect()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m.handleSignals(cancel)
	if err := m.run(ctx); err != nil {
		m.log.Error("container failed", "err", err)
		return 1
	}
	return 0
}

// monitor is everything one container needs at run time.
type monitor struct {
	cfg      runner.Config
	store    *store.Store
	lock     *store.Lock
	networks runner.Networks
	log      *slog.Logger
	reporter *reporter
	hostMnt  *os.File
	hub      *attach.Hub
	client   *attach.Conn // the command that waits in the foreground, or nil
	overlay  rootfs.Overlay
	users    *os.File // the container's user namespace, nil for the host's

	events events.Journal
	trace  *trace // of the start

	abort context.CancelFunc // ends the start, and the wait for a restart
	// ready is closed when the start has ended, well or not.
	ready chan struct{}

	// changing is held while a Change is carried out, and by the end.
	changing sync.Mutex
	ended    bool

	mu        sync.Mutex // guards what signals and clients reach
	io        *stdio     // nil until the process exists
	state     runner.State
	stopping  bool             // not to be restarted
	keep      bool             // not to be removed at its end
	container engine.Container // nil until the process exists
	size      attach.Size      // of the terminal, as last wished
}

// isolate makes the process fit to live for days: no terminal's directory, no
// world-readable files, and mounts that come from the host but do not go there.
func (m *monitor) isolate() error {
	unix.Umask(0o077)
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Slave, not private: a private copy would keep the host from unmounting.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private to the monitor: %w", err)
	}
	return nil
}

// protect makes the process the last to be killed for memory.
func (m *monitor) protect() {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0); err != nil {
		m.log.Warn("cannot lower our chance to be killed for memory", "err", err)
	}
}

// handleSignals: the end of a session is nothing to us; a polite request to end
// goes to the container, or ends its start.
func (m *monitor) handleSignals(abort context.CancelFunc) {
	m.abort = abort
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGTERM, unix.SIGINT)
	go func() {
		for s := range got {
			// Commands signal the container itself: this is the host going down.
			m.mu.Lock()
			m.stopping = true
			m.mu.Unlock()
			m.Signal(s.(unix.Signal))
		}
	}()
}

// Signal passes a signal to the container's process, or ends the start.
func (m *monitor) Signal(s unix.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Status != runner.StatusRunning || m.container == nil {
		if s == unix.SIGTERM || s == unix.SIGINT || s == unix.SIGKILL {
			m.abort()
		}
		return
	}
	if err := m.container.Signal(s); err != nil {
		m.log.Warn("signal", "signal", s, "err", err)
	}
}

func (m *monitor) setState(change func(*runner.State)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.state)
	return m.store.SetState(m.cfg.ID, m.state)
}
