package monitor

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
)

// maxHealthOutput is how much is kept of what a check prints (docker's).
const maxHealthOutput = 4096

// watchHealth runs the container's health check again and again, one at a time. stop ends
// that, and a check that is under way: it is called when the program has ended, with
// which the kernel ends all others.
func (m *monitor) watchHealth(like *specs.Process) (stop func()) {
	check := m.cfg.Health
	if !check.Enabled() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		started, now := m.healthNow()
		for wait(ctx, check.Pause(now, time.Since(started))) {
			if m.paused() {
				continue
			}
			begin := time.Now()
			r, err := m.checkHealth(ctx, like)
			if err != nil {
				continue // it ends, and what was found is about that
			}
			now = m.noteHealth(now.After(check, r, begin.Sub(started)), now.Status)
			if check.Pause(now, time.Since(started)) > time.Second {
				debug.FreeOSMemory() // as after the start: there may be hundreds of us
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// wait tells whether the time has passed, and not ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *monitor) healthNow() (started time.Time, now runner.Health) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Health != nil {
		now = *m.state.Health
	}
	return m.state.Started, now
}

// paused: a check in a frozen container would wait until it runs on.
func (m *monitor) paused() bool {
	rec, err := m.store.Load(m.cfg.ID)
	return err == nil && rec.State.Status == runner.StatusPaused
}

// noteHealth writes down what was found, and tells of it if it is new.
func (m *monitor) noteHealth(found runner.Health, before runner.HealthStatus) runner.Health {
	if err := m.setState(func(st *runner.State) { st.Health = &found }); err != nil {
		m.log.Error("write health", "err", err)
	}
	if found.Status != before {
		m.note("health_status: "+string(found.Status), nil)
	}
	return found
}

// checkHealth runs the check once, as `exec` would run it. An error is the end of the
// container or of watch.
func (m *monitor) checkHealth(watch context.Context, like *specs.Process) (runner.HealthResult, error) {
	r := runner.HealthResult{Start: time.Now(), ExitCode: -1}
	ctx, cancel := context.WithTimeout(watch, m.cfg.Health.Limit())
	defer cancel()
	code, output, err := m.execute(ctx, like, m.cfg.Health.Args())
	r.End, r.Output = time.Now(), output
	switch {
	case watch.Err() != nil:
		return r, watch.Err()
	case errors.Is(err, engine.ErrNotRunning):
		return r, err
	case errors.Is(err, context.DeadlineExceeded):
		r.Output = "Health check exceeded timeout (" + m.cfg.Health.Limit().String() + "): " + output
	case err != nil:
		_, r.Output = engine.Explain(err)
	default:
		r.ExitCode = code
	}
	return r, nil
}

// execute runs a further program in the container until its end, or the end of ctx, and
// returns what it printed first.
func (m *monitor) execute(ctx context.Context, like *specs.Process, args []string) (code int, output string, err error) {
	// Not m.container: while a program is being started that one is locked, and signals
	// are sent through it.
	box, err := engine.Engine{Root: m.store.EngineRoot()}.Load(string(m.cfg.ID))
	if err != nil {
		return 0, "", err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer read.Close()
	p := *like
	p.Args, p.Terminal, p.ConsoleSize = args, false, nil
	started, err := box.Exec(engine.Process{Spec: &p, Stdout: write, Stderr: write})
	_ = write.Close()
	if err != nil {
		return 0, "", err
	}
	printed := make(chan string, 1)
	go func() { printed <- beginning(read) }()
	code, err = waitOrKill(ctx, started)
	// A process that the check has left behind may hold the pipe open.
	_ = read.SetReadDeadline(time.Now().Add(time.Second))
	return code, <-printed, err
}

// beginning reads to the end and keeps what comes first.
func beginning(r io.Reader) string {
	kept, _ := io.ReadAll(io.LimitReader(r, maxHealthOutput))
	_, _ = io.Copy(io.Discard, r)
	return string(kept)
}

// waitOrKill waits for a child's end, which it brings about when ctx ends.
func waitOrKill(ctx context.Context, p *engine.Started) (int, error) {
	// Nobody has waited for it, so its number is its own; what we hold from here on is
	// the process, not the number (pidfd).
	child, err := os.FindProcess(p.Pid)
	if err != nil {
		return p.Wait()
	}
	defer child.Release() //nolint:errcheck // closes
	undo := context.AfterFunc(ctx, func() { _ = child.Kill() })
	code, err := p.Wait()
	if !undo() && err == nil {
		err = ctx.Err()
	}
	return code, err
}
