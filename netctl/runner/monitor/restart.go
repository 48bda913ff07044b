package monitor

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// live stays with the program until it ends for good: as often as the policy
// says it is run again, in the same network namespace, with the same addresses
// and the same root file system. ended tells how it ended, and what of.
func (m *monitor) live(ctx context.Context, s *specs.Spec, process *engine.Started) (how ending, err error) {
	var backoff runner.Backoff
	for restarts := 1; ; restarts++ {
		began := time.Now()
		if process != nil {
			stop := m.watchHealth()
			how.code, err = m.supervise(process)
			stop()
			m.note("die", map[string]string{"exitCode": strconv.Itoa(how.code)})
		}
		if !m.restarts(how.code, restarts-1) {
			return how, err
		}
		if process != nil {
			how.oom = m.killedForMemory()
		}
		if err := m.rest(ctx, how, restarts, backoff.Next(time.Since(began))); err != nil {
			return how, nil //nolint:nilerr // somebody wants it to end, which is no failure
		}
		// A program that can't be run again ends its turn at once, as shells
		// would report it.
		if process, err = m.again(s); err != nil {
			if m.isStopping() { // what ended this start was to end the container
				return how, nil
			}
			m.log.Error("restart", "err", err)
			process = nil
			how.code, _ = engine.Explain(err)
			how.oom = false
		}
	}
}

// ending is how a program ended.
type ending struct {
	code int
	oom  bool
}

// killedForMemory tells whether the kernel has killed something of the container for
// want of memory. Its cgroup must still be there.
func (m *monitor) killedForMemory() bool {
	m.mu.Lock()
	ended := m.container
	m.mu.Unlock()
	if ended == nil || !ended.OOMKilled() {
		return false
	}
	m.note("oom", nil)
	return true
}

// restarts tells whether the program is to be run again.
func (m *monitor) restarts(code, restarts int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.stopping && m.cfg.Restart.Again(code, restarts)
}

func (m *monitor) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// rest notes that the program has ended, tells those who watched it, and waits.
func (m *monitor) rest(ctx context.Context, how ending, restarts int, pause time.Duration) error {
	err := m.setState(func(st *runner.State) {
		st.Status, st.Pid, st.Finished = runner.StatusRestarting, 0, time.Now()
		st.ExitCode, st.OOMKilled, st.Restarts = how.code, how.oom, restarts
	})
	if err != nil {
		m.log.Error("write state", "err", err)
	}
	m.hub.Ended(how.code)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again runs the program once more.
func (m *monitor) again(s *specs.Spec) (*engine.Started, error) {
	m.mu.Lock()
	m.container, m.io = nil, nil
	m.mu.Unlock()
	err := engine.Engine{Root: m.store.EngineRoot()}.Remove(string(m.cfg.ID), spec.CgroupPath(&m.cfg))
	if err != nil {
		return nil, err
	}
	if err := m.store.SetPaused(m.cfg.ID, false); err != nil {
		return nil, err
	}
	process, err := m.startProcess(s)
	if err != nil {
		return nil, err
	}
	return process, m.letRun(process)
}

// letRun notes that the program runs, and lets it.
func (m *monitor) letRun(process *engine.Started) error {
	err := m.setState(func(st *runner.State) {
		st.Status, st.Pid, st.Started = runner.StatusRunning, process.Pid, time.Now()
		if m.cfg.Health.Enabled() {
			st.Health = &runner.Health{Status: runner.HealthStarting}
		}
	})
	if err != nil {
		return errors.Join(err, m.container.Signal(killSignal))
	}
	m.mu.Lock()
	c := m.container
	m.mu.Unlock()
	if err := c.Release(); err != nil {
		return err
	}
	process.Ready()
	m.note("start", nil)
	return nil
}
