package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/store"
)

// Program is the name of the program whose main function is Main; it is
// installed beside netctl.
const Program = "netctl-monitor"

// Executable is what is executed as a monitor: its path, and its whole environment.
type Executable struct {
	Path string
	Env  []string
}

// Waiting is a monitor that is being executed and does nothing until it is ordered
// to: its start goes by beside what the command has to do before that.
type Waiting struct {
	conn     *os.File // ours; the order goes there, the report comes back
	executed chan struct{}
	process  *Process // once executed
	err      error    // or why it can't be
}

// Execute executes a monitor for a container that there need not be yet, and returns
// at once. Its mount namespace is a copy of the caller's of now.
func (e Executable) Execute(s *store.Store, id runner.ID) *Waiting {
	w := &Waiting{executed: make(chan struct{})}
	go func() {
		defer close(w.executed)
		w.process, w.conn, w.err = e.execute(s, id)
	}()
	return w
}

func (e Executable) execute(s *store.Store, id runner.ID) (*Process, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	mnt, err := namespace.OpenMount()
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	defer mnt.Close()
	const shown = "netctl" // by `ps`
	process, err := startProcess(e.Path,
		[]string{shown, argument, s.StateRoot(), s.DataRoot(), string(id)},
		slices.Concat(e.Env, goRuntime(), []string{environment + "=" + agreement}),
		mnt, theirs)
	if err != nil {
		return nil, nil, errors.Join(e.explain(err), ours.Close())
	}
	return process, ours, nil
}

func (e Executable) explain(err error) error {
	if _, missing := os.Stat(e.Path); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("start monitor: there is no program %s: install it beside netctl (`make build` makes both)", e.Path)
	}
	return fmt.Errorf("start monitor: %w", err)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("start monitor: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "command"), nil
}

// Order has the monitor start its container. An error is why there is no monitor
// that could. The report follows.
func (w *Waiting) Order(o Order) (*Process, error) {
	<-w.executed
	if w.err != nil {
		return nil, w.err
	}
	// One that is of another version may have sent its report and be gone already.
	if err := o.send(w.conn); err != nil && !errors.Is(err, unix.EPIPE) {
		return nil, errors.Join(err, w.Dismiss())
	}
	return w.process, nil
}

// Report waits for what a monitor that was ordered says about the start. It is
// attach.ErrLost if the monitor has died.
func (w *Waiting) Report() (Report, error) {
	defer w.conn.Close()
	var r Report
	err := json.NewDecoder(w.conn).Decode(&r)
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return r, attach.ErrLost
	}
	return r, err
}

// Dismiss ends a monitor that was not ordered, which has touched nothing.
func (w *Waiting) Dismiss() error {
	<-w.executed
	if w.err != nil {
		return nil // there is none
	}
	err := w.conn.Close()
	w.process.Wait()
	return err
}
