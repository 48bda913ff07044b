package monitor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/spec"
	"github.com/netctl/netctl/netctl/runner/store"
)

// detachTimeout bounds the removal of attachments, which plugins may do that we
// do not know.
const detachTimeout = 30 * time.Second

// Release takes away all that a container has outside its own directory:
// processes, cgroup, attachments, network namespace. It goes by the record alone
// and may be repeated, so the monitor uses it at the end and after a failed
// start, and any command when the monitor is dead. The caller holds the lock.
// hostMounts is the host's mount namespace, nil for a caller that is in it.
func Release(ctx context.Context, s *store.Store, networks runner.Networks, hostMounts *os.File, c *runner.Container) error {
	ctx, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	return errors.Join(
		engine.Engine{Root: s.EngineRoot()}.Remove(string(c.Config.ID), spec.CgroupPath(&c.Config)),
		releaseNetwork(ctx, s, networks, hostMounts, c))
}

// releaseNetwork is the part of Release that needs no engine.
func releaseNetwork(ctx context.Context, s *store.Store, networks runner.Networks, hostMounts *os.File, c *runner.Container) error {
	id := c.Config.ID
	var errs []error
	if len(c.State.Attached) > 0 {
		if err := networks.Detach(ctx, string(id), s.NetnsPath(id), c.State.Attached); err != nil {
			errs = append(errs, fmt.Errorf("detach container %s: %w", c.Name, err))
		}
	}
	if c.Network.OwnNamespace() {
		errs = append(errs, namespace.InMount(hostMounts, func() error {
			return namespace.RemoveNet(s.NetnsPath(id))
		}))
	}
	return errors.Join(errs...)
}

// release is Release for our own container, and the unmounting of what only we
// can see.
func (m *monitor) release() error {
	c := m.record()
	return errors.Join(
		Release(context.Background(), m.store, m.networks, m.hostMnt, &c),
		m.overlay.Unmount())
}

func (m *monitor) record() runner.Container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return runner.Container{Config: m.cfg, State: m.state}
}

// releaseEnded is release for a container whose end was waited for; how learns what
// only the cgroup knows. Nothing is left in it that could use its network or its
// files, so all are taken away at the same time: network, cgroups, and, if it is
// removed, its changes.
func (m *monitor) releaseEnded(how *ending, removes bool) error {
	m.mu.Lock()
	ended := m.container
	m.mu.Unlock()
	if ended == nil {
		return m.release() // it could not be run again
	}
	runtime.GOMAXPROCS(2) // memory is of no account any more, and somebody waits
	var network error
	var removal sync.WaitGroup
	removal.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), detachTimeout)
		defer cancel()
		c := m.record()
		network = releaseNetwork(ctx, m.store, m.networks, m.hostMnt, &c)
	})
	how.oom = m.killedForMemory()
	inside := m.releaseInside(ended, removes)
	removal.Wait()
	if inside != nil || network != nil {
		return m.release() // the thorough way; it repeats what failed
	}
	return nil
}

// releaseInside takes away what the ended program had for itself.
func (m *monitor) releaseInside(ended engine.Container, removes bool) error {
	if err := errors.Join(m.overlay.Unmount(), ended.Remove()); err != nil || !removes {
		return err
	}
	return namespace.InMount(m.hostMnt, func() error { return m.store.RemoveWork(m.cfg.ID) })
}

// remove deletes the record (--rm), seen from the host.
func (m *monitor) remove() error {
	return namespace.InMount(m.hostMnt, func() error {
		return errors.Join(m.store.Remove(m.cfg.ID, m.cfg.Name), m.removeVolumes())
	})
}
