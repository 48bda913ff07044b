package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	// environment is set for monitors only. Its value tells whether there is a
	// client; it changes with everything else that Start and inherit agree upon,
	// so that programs of two versions do not misunderstand each other.
	environment        = "_NETCTL_MONITOR"
	attached, detached = "1-attached", "1-detached"

	fdLock, fdReport, fdMount, fdClient = 3, 4, 5, 6
)

// goRuntime is how the Go runtime of a monitor is set up; it reads this when it
// starts. One processor: a second one has its own caches of memory (0.2 MB), and
// all but system calls is done one after the other anyway. No collection during a
// start, where it costs 1.5 ms: slim collects when it is over.
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

// Program is the name of the program whose main function is Main; it is
// installed beside netctl.
const Program = "netctl-monitor"

// Executable is what is executed as a monitor: its path, and its whole environment.
type Executable struct {
	Path string
	Env  []string
}

// Start executes the monitor of a container and returns at once. The lock passes
// to it. client may be nil. The report arrives at the returned pipe, one JSON
// object; end of file without one means that the monitor died.
func (e Executable) Start(s *store.Store, id runner.ID, lock *store.Lock, client *os.File) (*exec.Cmd, *os.File, error) {
	report, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	mnt, err := namespace.OpenMount()
	if err != nil {
		return nil, nil, errors.Join(err, report.Close())
	}
	defer mnt.Close()
	cmd := exec.Command(e.Path, argument, s.StateRoot(), s.DataRoot(), string(id))
	cmd.Args[0] = "netctl" // what `ps` shows
	cmd.ExtraFiles = []*os.File{lock.File, theirs, mnt}
	mode := detached
	if client != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, client)
		mode = attached
	}
	cmd.Env = slices.Concat(e.Env, goRuntime(), []string{environment + "=" + mode})
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(e.explain(err), report.Close())
	}
	return cmd, report, nil
}

func (e Executable) explain(err error) error {
	if _, missing := os.Stat(e.Path); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("start monitor: there is no program %s: install it beside netctl (`make build` makes both)", e.Path)
	}
	return fmt.Errorf("start monitor: %w", err)
}

// ReadReport waits for the report.
func ReadReport(pipe io.Reader) (Report, error) {
	var r Report
	err := json.NewDecoder(pipe).Decode(&r)
	if errors.Is(err, io.EOF) {
		return r, attach.ErrLost
	}
	return r, err
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

// inherit takes over what Start passed.
func inherit(args []string, networks func(*slog.Logger) runner.Networks) (*monitor, error) {
	for fd := fdLock; fd <= fdClient; fd++ {
		unix.CloseOnExec(fd) // plugins and the container get none of these
	}
	id, err := runner.ParseID(args[3])
	if err != nil {
		return nil, err
	}
	s := store.Open(args[1], args[2])
	log := newLog(s.File(id, "monitor.log"))
	m := &monitor{
		store:    s,
		networks: networks(log),
		reporter: &reporter{os.NewFile(fdReport, "report")},
		hostMnt:  os.NewFile(fdMount, "mount namespace"),
		log:      log,
		events:   events.Open(args[1]),
		trace:    newTrace(),
		ready:    make(chan struct{}),
	}
	engine.LogTo(m.log, "engine")
	m.hub = attach.NewHub(m)
	if err := m.take(id, os.Getenv(environment)); err != nil {
		m.reporter.failed(err)
		return nil, err
	}
	// None of this is for plugins that are programs, nor for the resolver.
	err = os.Unsetenv(environment)
	for _, setting := range goRuntime() {
		name, _, _ := strings.Cut(setting, "=")
		err = errors.Join(err, os.Unsetenv(name))
	}
	return m, err
}

// take reads the container's record and takes over the client, if mode says that
// there is one.
func (m *monitor) take(id runner.ID, mode string) error {
	if mode != attached && mode != detached {
		return fmt.Errorf("%s beside it is of another version: install both together", Program)
	}
	c, err := m.store.Load(id)
	if err != nil {
		return err
	}
	m.cfg, m.state = c.Config, c.State
	m.overlay = rootfs.Overlay{Lower: m.cfg.Layers, Work: m.store.WorkDir(id), Merged: m.store.MergedDir(id), Discard: m.cfg.AutoRemove}
	if mode == attached {
		m.client, err = attach.FromFile(os.NewFile(fdClient, "client"))
	}
	return err
}

// newLog writes to a file that comes into being with the first message, since
// most monitors never say anything.
func newLog(path string) *slog.Logger {
	return slog.New(slog.NewTextHandler(&lazyFile{path: path}, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type lazyFile struct{ path string }

func (l *lazyFile) Write(p []byte) (int, error) {
	if _, err := os.Stat(filepath.Dir(l.path)); err != nil {
		return 0, err // the container was removed
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Write(p)
}
