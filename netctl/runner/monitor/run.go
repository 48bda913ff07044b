package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// run is the whole life of the container.
func (m *monitor) run(ctx context.Context) error {
	defer m.serveClients()()
	process, err := m.start(ctx)
	close(m.ready)
	if err != nil {
		err = errors.Join(err, m.release(), m.setState(func(s *runner.State) {
			*s = runner.State{Status: runner.StatusCreated, Error: err.Error(), Last: s.Last}
		}))
		m.reporter.failed(err)
		m.hub.Failed(err)
		return err
	}
	m.reporter.started()
	code, err := m.supervise(process)
	m.end(code)
	return err
}

// start brings the program to life. What it has made when it fails is released
// by the caller: the state names it.
func (m *monitor) start(ctx context.Context) (*engine.Started, error) {
	s, err := m.prepare()
	if err != nil {
		return nil, err
	}
	// The start of the engine mostly waits for the kernel; the network is
	// attached meanwhile.
	var process *engine.Started
	var both errgroup.Group
	both.Go(func() error { return m.attach(ctx) })
	both.Go(func() (err error) {
		process, err = m.startProcess(s)
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	if err := m.writeFiles(); err != nil {
		return nil, err
	}
	err = m.setState(func(st *runner.State) {
		st.Status, st.Pid, st.Started = runner.StatusRunning, process.Pid, time.Now()
	})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	c := m.container
	m.mu.Unlock()
	return process, c.Release()
}

// prepare makes everything that does not take long, and the specification.
func (m *monitor) prepare() (*specs.Spec, error) {
	netns, err := m.netns()
	if err != nil {
		return nil, err
	}
	err = m.setState(func(st *runner.State) {
		*st = runner.State{
			Status:   runner.StatusStarting,
			Netns:    netns,
			Attached: runner.Planned(m.cfg.Endpoints),
			Last:     st.Last,
		}
	})
	if err != nil {
		return nil, err
	}
	if err := m.store.SetPaused(m.cfg.ID, false); err != nil {
		return nil, err
	}
	if volatile, err := m.overlay.Mount(); err != nil {
		return nil, err
	} else if volatile {
		m.log.Warn("the data directory cannot hold an overlay; changes to the root file system are kept in memory and end with the process", "dir", m.store.DataRoot())
	}
	if err := m.writeFiles(); err != nil {
		return nil, err
	}
	host, err := m.host()
	if err != nil {
		return nil, err
	}
	s, err := spec.Build(&m.cfg, host)
	if err != nil {
		return nil, err
	}
	return s, m.store.SetSpec(m.cfg.ID, s)
}

// attach connects the network and notes what it gave.
func (m *monitor) attach(ctx context.Context) error {
	if !m.cfg.Network.OwnNamespace() {
		return nil
	}
	m.mu.Lock()
	last := m.state.Last
	m.mu.Unlock()
	id, netns := string(m.cfg.ID), m.store.NetnsPath(m.cfg.ID)
	got, err := m.networks.Attach(ctx, id, netns, runner.Again(m.cfg.Endpoints, last))
	if err != nil && last != nil && ctx.Err() == nil {
		m.log.Info("the former addresses or ports can't be had again", "err", err)
		got, err = m.networks.Attach(ctx, id, netns, m.cfg.Endpoints)
	}
	if err != nil {
		return err
	}
	return m.setState(func(st *runner.State) { st.Attached = got })
}

// startProcess makes the container's first process, which then waits.
func (m *monitor) startProcess(s *specs.Spec) (*engine.Started, error) {
	c, err := engine.Engine{Root: m.store.EngineRoot()}.Create(string(m.cfg.ID), s)
	if err != nil {
		return nil, err
	}
	streams, err := newStdio(m.cfg.Process)
	if err != nil {
		return nil, err
	}
	process, err := c.Start(streams.process(s.Process))
	if err != nil {
		streams.close()
		return nil, err
	}
	streams.handedOver(process)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.container, m.io = c, streams
	m.applySizeLocked()
	return process, nil
}

// supervise passes output on until the process has ended, and returns its exit
// code.
func (m *monitor) supervise(process *engine.Started) (int, error) {
	out, err := m.startOutput()
	if err != nil {
		return runner.UnknownExit, errors.Join(err, m.container.Signal(killSignal))
	}
	code, err := process.Wait()
	out.finish()
	if err != nil {
		return runner.UnknownExit, fmt.Errorf("wait for container: %w", err)
	}
	return code, nil
}

// end releases everything, writes down how it ended, and tells the clients, in
// this order: who hears of the end may rely on address, ports and name being
// free.
func (m *monitor) end(code int) {
	oom := m.container.OOMKilled()
	err := m.release()
	if m.cfg.AutoRemove && err == nil {
		err = m.remove()
	}
	if !m.cfg.AutoRemove || err != nil {
		err = errors.Join(err, m.setState(func(st *runner.State) {
			*st = st.Ended(time.Now(), code)
			st.OOMKilled = oom
			if err != nil {
				st.Error = err.Error()
			}
		}))
	}
	if err != nil {
		m.log.Error("clean up", "err", err)
	}
	m.hub.Exited(code)
}

// serveClients takes the first client and opens the socket for later ones.
func (m *monitor) serveClients() (stop func()) {
	if m.client != nil {
		m.hub.Add(m.client)
	}
	l, err := attach.Listen(m.store.SocketPath(m.cfg.ID))
	if err != nil {
		m.log.Warn("no attach socket", "err", err)
		return func() {}
	}
	go m.hub.Serve(l)
	return func() { _ = l.Close() }
}
