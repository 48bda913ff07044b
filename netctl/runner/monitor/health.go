package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// maxHealthOutput is how much is kept of what a check prints (docker's).
const maxHealthOutput = 4096

// watchHealth runs the container's health check again and again, one at a time. stop ends
// that, and a check that is under way: it is called when the program has ended, with
// which the kernel ends all others.
func (m *monitor) watchHealth() (stop func()) {
	check := m.config().Health
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
			r, err := m.checkHealth(ctx, check)
			if err != nil {
				continue // it ends, and what was found is about that
			}
			now = m.noteHealth(now.After(check, r, begin.Sub(started)), now.Status)
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
	rec, err := m.store.Load(m.config().ID)
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

// checkHealth runs the check once, as `exec` would run it. An error is the end of watch.
func (m *monitor) checkHealth(watch context.Context, check runner.HealthCheck) (runner.HealthResult, error) {
	r := runner.HealthResult{Start: time.Now(), ExitCode: -1}
	ctx, cancel := context.WithTimeout(watch, check.Limit())
	defer cancel()
	code, output, err := m.executeCheck(ctx)
	r.End, r.Output = time.Now(), output
	switch {
	case watch.Err() != nil:
		return r, watch.Err()
	case ctx.Err() != nil:
		r.Output = "Health check exceeded timeout (" + check.Limit().String() + "): " + output
	case err != nil:
		r.Output = err.Error()
	default:
		r.ExitCode = code
	}
	return r, nil
}

// executeCheck has a process of its own run the check, until the end of ctx, and returns
// what was printed first. We do not run it ourselves: where a program can't be started the
// engine leaves processes behind that are ended and waited for by nobody, and as long as
// one is in the container, the kernel does not let its first process end. Those of a
// process that ends are the host's to wait for.
func (m *monitor) executeCheck(ctx context.Context) (code int, output string, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", argumentCheck, m.store.StateRoot(), m.store.DataRoot(), string(m.config().ID))
	cmd.Args[0] = "netctl"
	cmd.Env = append(os.Environ(), environment+"="+agreement)
	cmd.Stdout, cmd.Stderr = write, write
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = checkPatience
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return 0, "", fmt.Errorf("run the health check: %w", err)
	}
	printed := make(chan string, 1)
	go func() { printed <- beginning(read) }()
	err = cmd.Wait()
	// A process that the check has left behind may hold the pipe open.
	_ = read.SetReadDeadline(time.Now().Add(time.Second))
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), <-printed, err
}

// checkPatience is how long a process may take to end a check whose time is up.
const checkPatience = 10 * time.Second

// beginning reads to the end and keeps what comes first.
func beginning(r io.Reader) string {
	kept, _ := io.ReadAll(io.LimitReader(r, maxHealthOutput))
	_, _ = io.Copy(io.Discard, r)
	return string(kept)
}
