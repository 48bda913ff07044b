package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/netctl/netctl/netctl/runner"
)

// changeTimeout bounds what networks do for a change.
const changeTimeout = 60 * time.Second

// Change carries out what a command asks of the running container. As at the
// start, what will have to be undone is written down before it is done, so that
// a kill at any moment loses nothing.
func (m *monitor) Change(request []byte) error {
	var ch runner.Change
	if err := json.Unmarshal(request, &ch); err != nil {
		return fmt.Errorf("malformed request: %w", err)
	}
	if ch.Stop { // a start may be what takes so long
		return m.wantStop()
	}
	if ch.Keep {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.keep = true
		return nil
	}
	<-m.ready
	m.changing.Lock()
	defer m.changing.Unlock()
	if m.ended {
		return errors.New("the container has ended")
	}
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	switch {
	case ch.Connect != nil:
		return m.connect(ctx, *ch.Connect)
	case ch.Disconnect != "":
		return m.disconnect(ctx, ch.Disconnect)
	case ch.Rename != "":
		return m.rename(ctx, ch.Rename)
	}
	return errors.New("the container's monitor is of another version and does not know this change: restart the container first")
}

// wantStop sees that the program is not run again; a wait for that ends now.
func (m *monitor) wantStop() error {
	m.mu.Lock()
	m.stopping = true
	waiting := m.state.Status == runner.StatusRestarting
	m.mu.Unlock()
	err := m.setState(func(st *runner.State) { st.Stopped = true })
	if waiting {
		m.abort()
	}
	return err
}

// removes tells whether the container is removed at its end (--rm).
func (m *monitor) removes() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg.AutoRemove && !m.keep
}

func (m *monitor) connect(ctx context.Context, e runner.Endpoint) error {
	cfg := m.config()
	if err := cfg.Connect(e); err != nil {
		return err
	}
	e = cfg.Endpoints[len(cfg.Endpoints)-1]
	planned := runner.Planned([]runner.Endpoint{e})
	err := m.setState(func(st *runner.State) { st.Attached = append(slices.Clone(st.Attached), planned...) })
	if err != nil {
		return err
	}
	got, err := m.attachFurther(ctx, cfg, e)
	id, netns := string(cfg.ID), m.store.NetnsPath(cfg.ID)
	if err == nil {
		err = m.adopt(cfg, func(st *runner.State) { st.Attached = append(without(st.Attached, e.Network), got...) })
		if err == nil {
			return nil
		}
		err = errors.Join(err, m.networks.Detach(ctx, id, netns, got))
	}
	return errors.Join(err, m.rank(ctx, m.config()), m.setState(func(st *runner.State) { st.Attached = without(st.Attached, e.Network) }))
}

// attachFurther attaches one endpoint more. Those that are there make room for its
// default route first, so that it leads out from its first moment or never.
func (m *monitor) attachFurther(ctx context.Context, cfg runner.Config, e runner.Endpoint) ([]runner.Attached, error) {
	if err := m.rank(ctx, cfg); err != nil {
		return nil, err
	}
	netns := m.store.NetnsPath(cfg.ID)
	got, err := m.networks.Attach(ctx, string(cfg.ID), netns, []runner.Endpoint{e})
	if err != nil {
		return nil, err
	}
	err = m.rank(ctx, cfg, got...)
	if err != nil {
		return nil, errors.Join(err, m.networks.Detach(ctx, string(cfg.ID), netns, got))
	}
	return got, nil
}

// rank puts the default routes of what is attached, and of more, in order.
func (m *monitor) rank(ctx context.Context, cfg runner.Config, more ...runner.Attached) error {
	m.mu.Lock()
	attached := slices.Clone(m.state.Attached)
	m.mu.Unlock()
	for _, a := range more {
		attached = append(without(attached, a.Network), a)
	}
	return m.networks.Rank(ctx, m.store.NetnsPath(cfg.ID), cfg.Endpoints, attached)
}

func (m *monitor) disconnect(ctx context.Context, network string) error {
	cfg := m.config()
	if err := cfg.Disconnect(network); err != nil {
		return err
	}
	m.mu.Lock()
	a := m.state.Network(network)
	m.mu.Unlock()
	if a != nil {
		err := m.networks.Detach(ctx, string(cfg.ID), m.store.NetnsPath(cfg.ID), []runner.Attached{*a})
		if err != nil {
			return err
		}
	}
	err := m.adopt(cfg, func(st *runner.State) { st.Attached = without(st.Attached, network) })
	return errors.Join(err, m.rank(ctx, cfg))
}

// rename takes the new name before it gives the old one back; the resolver is
// told in between.
func (m *monitor) rename(ctx context.Context, name string) error {
	old := m.config()
	cfg := old
	cfg.Name = name
	cfg.NameEndpoints()
	err := m.store.Rename(&old, &cfg, func() error {
		return m.networks.Rename(ctx, string(cfg.ID), cfg.Endpoints)
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.cfg = cfg
	m.mu.Unlock()
	return nil
}

// adopt makes cfg the container's configuration, with the state that belongs to
// it, and shows it to the program.
func (m *monitor) adopt(cfg runner.Config, change func(*runner.State)) error {
	if err := m.store.SetConfig(&cfg); err != nil {
		return err
	}
	m.mu.Lock()
	m.cfg = cfg
	m.mu.Unlock()
	if err := m.setState(change); err != nil {
		return err
	}
	return m.writeFiles()
}

func (m *monitor) config() runner.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg
}

func without(list []runner.Attached, network string) []runner.Attached {
	return slices.DeleteFunc(slices.Clone(list), func(a runner.Attached) bool { return a.Network == network })
}
