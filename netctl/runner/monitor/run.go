package monitor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	s, process, err := m.start(ctx)
	close(m.ready)
	if err != nil {
		kept := m.release()
		err = errors.Join(err, kept, m.setState(func(s *runner.State) {
			*s = runner.State{Status: runner.StatusCreated, Error: err.Error(), Attached: leftOf(s, kept), Last: s.Last}
		}))
		m.reporter.failed(err)
		m.hub.Failed(err)
		return err
	}
	m.reporter.started(m.trace.all())
	time.AfterFunc(settled, slim)
	how, err := m.live(ctx, s, process)
	m.end(how)
	return err
}

// settled is when the start's garbage has come to rest.
const settled = 500 * time.Millisecond

// slim gives back what the start needed, once: a monitor lives for days beside
// many others and does little. Nobody waits for this.
func slim() {
	debug.SetGCPercent(25)
	debug.FreeOSMemory()
}

// start brings the program to life. What it has made when it fails is released
// by the caller: the state names it.
func (m *monitor) start(ctx context.Context) (*specs.Spec, *engine.Started, error) {
	s, err := m.prepare()
	if err != nil {
		return nil, nil, err
	}
	// The start of the engine mostly waits for the kernel; the rest is done
	// meanwhile.
	var process *engine.Started
	var all errgroup.Group
	all.Go(func() error { return m.trace.step("attach networks", func() error { return m.attach(ctx) }) })
	all.Go(func() error { return m.store.SetSpec(m.cfg.ID, spec.Linux(s)) })
	all.Go(func() error {
		return m.trace.step("namespaces, cgroup, mounts", func() (err error) {
			process, err = m.startProcess(s)
			return err
		})
	})
	if err := all.Wait(); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("start container: %w", err)
	}
	err = m.trace.step("write hosts and resolv.conf", m.writeFiles)
	if err != nil {
		return nil, nil, err
	}
	return s, process, m.trace.step("execute the program", func() error { return m.letRun(process) })
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
	if err := m.openUsers(); err != nil {
		return nil, err
	}
	var volatile bool
	err = m.trace.step("mount the root file system", func() (err error) {
		volatile, err = m.overlay.Mount()
		return err
	})
	if err != nil {
		return nil, err
	}
	if volatile {
		m.log.Warn("the data directory cannot hold an overlay; changes to the root file system are kept in memory and end with the process", "dir", m.store.DataRoot())
	}
	if err := m.writeFiles(); err != nil {
		return nil, err
	}
	var s *specs.Spec
	err = m.trace.step("compute the specification", func() error {
		host, err := m.host()
		if err == nil {
			s, err = spec.Build(&m.cfg, host)
		}
		return err
	})
	return s, err
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

// end releases everything, writes down how it ended, gives the container's lock
// back, and tells the clients, in this order: who hears of the end may rely on
// address, ports and name being free, and may start the container again or remove
// it. The end of this process, which takes its mount namespace along (1 to 2 ms), is
// nothing that anybody has to wait for.
func (m *monitor) end(how ending) {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.ended = true
	removes := m.removes()
	released := m.releaseEnded(&how, removes)
	err := released
	if removes && err == nil {
		if err = m.remove(); err == nil {
			m.note("destroy", nil)
		}
	}
	if !removes || err != nil {
		err = errors.Join(err, m.setState(func(st *runner.State) {
			left := leftOf(st, released)
			*st = st.Ended(time.Now(), how.code)
			st.OOMKilled, st.Attached = how.oom, left
			if err != nil {
				st.Error = err.Error()
			}
		}))
	}
	if err != nil {
		m.log.Error("clean up", "err", err)
	}
	if err := m.lock.Close(); err != nil {
		m.log.Error("give the lock back", "err", err)
	}
	m.hub.Exited(how.code)
}

// leftOf are the attachments that a release with that outcome may have left: the
// next start or removal tries again, and says so if they can't be given back.
func leftOf(s *runner.State, released error) []runner.Attached {
	if released == nil {
		return nil
	}
	return s.Attached
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
