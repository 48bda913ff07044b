package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/grace"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/store"
)

// StartError is a failure to run the program, with the status run exits with.
type StartError struct {
	Status int
	Text   string
}

func (e *StartError) Error() string { return e.Text }

// Running is a container that was just started.
type Running struct {
	// Conn is the connection to the monitor, if one was asked for.
	Conn *attach.Conn
	// Steps of the start, as the monitor took their time.
	Steps []monitor.Step
	done  chan struct{}
}

// Wait returns when the monitor process is gone, and everything of it.
func (r *Running) Wait() { <-r.done }

// Launch is a container that is about to be started: its monitor is being executed
// meanwhile. It ends by Start or by Dismiss.
type Launch struct {
	c       *Containers
	id      runner.ID
	monitor *monitor.Waiting
}

// Launch begins to start a container that is yet to be made, by the Create of what
// it returns.
func (c *Containers) Launch() *Launch { return c.launch(runner.NewID()) }

// Create is Containers.Create for it.
func (l *Launch) Create(cfg *runner.Config) error { return l.c.create(cfg, l.id) }

func (c *Containers) launch(id runner.ID) *Launch {
	return &Launch{c: c, id: id, monitor: c.Monitor.Execute(c.Store, id)}
}

// Dismiss is for a container that is not started after all.
func (l *Launch) Dismiss() error { return l.monitor.Dismiss() }

// Start runs the program of a container that does not run and returns when it is
// running and its network attached. With attached, the caller gets a connection that
// misses no output. If ctx ends first, the start is undone.
func (c *Containers) Start(ctx context.Context, id runner.ID, attached bool) (*Running, error) {
	return c.start(ctx, id, attached, c.launch)
}

// Start is the Start of a container that was launched before its record was made.
func (l *Launch) Start(ctx context.Context, attached bool) (*Running, error) {
	launched := false
	run, err := l.c.start(ctx, l.id, attached, func(runner.ID) *Launch { launched = true; return l })
	if !launched {
		err = errors.Join(err, l.Dismiss())
	}
	return run, err
}

// lockEnded takes the lock of a container that does not run. A monitor that has written
// its last state, which who waited for the end knows of, may hold it for a moment more.
func (c *Containers) lockEnded(ctx context.Context, id runner.ID) (*store.Lock, error) {
	lock, err := c.Store.Lock(id)
	if !errors.Is(err, store.ErrBusy) {
		return lock, err
	}
	if rec, loadErr := c.Store.Load(id); loadErr != nil || rec.State.Status.Active() {
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	if waitErr := c.Store.Wait(patience, id); waitErr != nil {
		return nil, err
	}
	return c.Store.Lock(id)
}

// endPatience is long enough for the end of a process on a busy machine.
const endPatience = 30 * time.Second

func (c *Containers) start(ctx context.Context, id runner.ID, attached bool, launch func(runner.ID) *Launch) (*Running, error) {
	grace.Begin()
	lock, err := c.lockEnded(ctx, id)
	if errors.Is(err, store.ErrBusy) {
		return nil, fmt.Errorf("start container %s: it is running already, or being removed", id.Short())
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	rec, err := c.bury(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(rec.State.Attached) > 0 { // could not be given back when it ended
		if err := monitor.Release(ctx, c.Store, c.Networks, nil, &rec); err != nil {
			return nil, fmt.Errorf("start container %s: what it had the last time is still there: %w", rec.Name, err)
		}
	}
	run, err := launch(id).order(ctx, &rec, lock, attached)
	if err != nil {
		// The monitor has cleaned up behind itself, unless it was killed; and
		// if it never ran there is only the namespace.
		err = errors.Join(err, monitor.Release(context.WithoutCancel(ctx), c.Store, c.Networks, nil, &rec))
	}
	return run, err
}

// order makes the network namespace and has the monitor do the rest.
func (l *Launch) order(ctx context.Context, rec *runner.Container, lock *store.Lock, attached bool) (*Running, error) {
	run, o := &Running{done: make(chan struct{})}, monitor.Order{Lock: lock}
	var err error
	if rec.Network.OwnNamespace() {
		o.Netns, err = l.c.newNet(rec)
	}
	if attached && err == nil {
		run.Conn, o.Client, err = attach.Pair()
	}
	defer closeFiles(o.Netns, o.Client)
	if err != nil {
		return nil, errors.Join(err, l.Dismiss())
	}
	process, err := l.monitor.Order(o)
	if err != nil {
		return nil, errors.Join(err, run.close())
	}
	// The end of the client's connection is the end of the monitor, if we have no
	// copy of its end.
	closeFiles(o.Client)
	go func() { defer close(run.done); process.Wait() }()
	told, err := awaitReport(ctx, process, l.monitor)
	if err != nil {
		<-run.done
		return nil, errors.Join(err, run.close())
	}
	run.Steps = told.Steps
	return run, nil
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // it may be closed already
		}
	}
}

// newNet makes the network namespace, which belongs to the container's own user
// namespace if it has one.
func (c *Containers) newNet(rec *runner.Container) (*os.File, error) {
	path := c.Store.NetnsPath(rec.Config.ID)
	var err error
	if rec.Userns.Own() {
		err = namespace.NewUserNet(path, rec.Userns.IDs)
	} else {
		err = namespace.NewNet(path)
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

func (r *Running) close() error {
	if r.Conn == nil {
		return nil
	}
	return r.Conn.Close()
}

// awaitReport waits for the monitor to say how the start went. When ctx ends it
// asks the monitor to undo the start and goes on waiting: for that answer.
func awaitReport(ctx context.Context, process *monitor.Process, from *monitor.Waiting) (monitor.Report, error) {
	stop := context.AfterFunc(ctx, func() { _ = process.Signal(unix.SIGTERM) })
	defer stop()
	r, err := from.Report()
	if err != nil {
		return r, err
	}
	if r.Error != "" {
		return r, &StartError{Status: r.Status, Text: r.Error}
	}
	return r, nil
}
