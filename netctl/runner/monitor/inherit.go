package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/store"
)

const (
	argument = "monitor"
	// environment is set for monitors only. Its value is what Execute and inherit
	// agree upon, and changes with that, so that programs of two versions do not
	// misunderstand each other.
	environment = "_NETCTL_MONITOR"
	agreement   = "2"

	fdMount, fdCommand = 3, 4
)

// goRuntime is how the Go runtime of a monitor is set up; it reads this when it
// starts. One processor: a second one has its own caches of memory, which a monitor
// keeps for good (0.25 MB, 0.6 on a busy machine; to give the processor back after
// the start gives none of it back), and all but system calls is done one after the
// other anyway. No collection during a start, where it costs 1.5 ms: slim collects
// when it is over.
func goRuntime() []string { return []string{"GOMAXPROCS=1", "GOGC=400"} }

// Report is what the monitor says about the start.
type Report struct {
	// Error is empty when the program runs.
	Error string `json:"error,omitempty"`
	// Status is the exit status for run: 125, 126 or 127.
	Status int `json:"status,omitempty"`
	// Steps of the start, for --explain.
	Steps []Step `json:"steps,omitempty"`
}

// reporter writes the report, once.
type reporter struct{ pipe *os.File }

func (r *reporter) failed(err error) {
	status, text := engine.Explain(err)
	r.send(Report{Error: text, Status: status})
}

func (r *reporter) started(steps []Step) { r.send(Report{Steps: steps}) }

// send ignores a reader that has gone: the container does not depend on it.
func (r *reporter) send(rep Report) {
	if r.pipe == nil {
		return
	}
	_ = json.NewEncoder(r.pipe).Encode(rep)
	_ = r.pipe.Close()
	r.pipe = nil
}

// inherit takes over what Execute passed, and waits for the order. Until that has
// come nothing is touched, since there may be no container yet.
func inherit(args []string, networks func(*slog.Logger) runner.Networks) (*monitor, error) {
	for fd := fdMount; fd <= fdCommand; fd++ {
		unix.CloseOnExec(fd) // plugins and the container get none of these
	}
	id, err := runner.ParseID(args[3])
	if err != nil {
		return nil, err
	}
	s := store.Open(args[1], args[2])
	log := newLog(func() string { return s.File(id, "monitor.log") })
	command := os.NewFile(fdCommand, "command")
	m := &monitor{
		store:    s,
		networks: networks(log),
		reporter: &reporter{command},
		hostMnt:  os.NewFile(fdMount, "mount namespace"),
		log:      log,
		events:   events.Open(args[1]),
		trace:    newTrace(),
		ready:    make(chan struct{}),
	}
	engine.LogTo(m.log, "engine")
	m.hub = attach.NewHub(m)
	err = m.awaitOrder(id, command)
	if err != nil && !errors.Is(err, errNoOrder) {
		m.reporter.failed(err)
	}
	return m, err
}

func (m *monitor) awaitOrder(id runner.ID, command *os.File) error {
	if os.Getenv(environment) != agreement {
		return fmt.Errorf("%s beside it is of another version: install both together", Program)
	}
	if err := errors.Join(clearEnvironment(), m.isolate()); err != nil {
		return err
	}
	o, err := receiveOrder(command)
	if err != nil {
		return err
	}
	return m.take(id, o)
}

// clearEnvironment takes out of it what is neither for plugins that are programs,
// nor for the resolver.
func clearEnvironment() error {
	err := os.Unsetenv(environment)
	for _, setting := range goRuntime() {
		name, _, _ := strings.Cut(setting, "=")
		err = errors.Join(err, os.Unsetenv(name))
	}
	return err
}

// take reads the container's record and takes over what came with the order.
func (m *monitor) take(id runner.ID, o Order) error {
	m.lock = o.Lock
	c, err := m.store.Load(id)
	if err != nil {
		return err
	}
	m.cfg, m.state = c.Config, c.State
	m.overlay = rootfs.Overlay{Lower: m.cfg.Layers, Work: m.store.WorkDir(id), Merged: m.store.MergedDir(id), Discard: m.cfg.AutoRemove}
	if o.Netns != nil {
		defer o.Netns.Close()
		if err := namespace.Show(o.Netns, m.store.NetnsPath(id)); err != nil {
			return err
		}
	}
	if o.Client != nil {
		m.client, err = attach.FromFile(o.Client)
	}
	return err
}

// newLog writes to a file that comes into being with the first message, since
// most monitors never say anything.
func newLog(path func() string) *slog.Logger {
	return slog.New(slog.NewTextHandler(&lazyFile{path}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type lazyFile struct{ path func() string }

func (l *lazyFile) Write(p []byte) (int, error) {
	path := l.path()
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return 0, err // the container was removed
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Write(p)
}
