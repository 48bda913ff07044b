package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/store"
)

// Change has a change carried out: by the container's monitor while there is
// one, else here.
func (c *Containers) Change(ctx context.Context, rec *runner.Container, ch runner.Change) error {
	const tries = 10 // it may be starting or ending at this very moment
	for try := 1; ; try++ {
		done, err := c.changeOnce(ctx, rec, ch)
		if done || err != nil {
			return err
		}
		if try == tries {
			return fmt.Errorf("container %s: %w", rec.Name, store.ErrBusy)
		}
	}
}

func (c *Containers) changeOnce(ctx context.Context, rec *runner.Container, ch runner.Change) (done bool, err error) {
	id := rec.Config.ID
	lock, err := c.Store.Lock(id)
	if err == nil {
		defer lock.Close()
		return true, c.changeStopped(ctx, id, ch)
	}
	if !errors.Is(err, store.ErrBusy) {
		return false, err
	}
	conn, err := attach.Dial(c.Store.SocketPath(id))
	if err == nil {
		defer conn.Close()
		err = conn.AskFor(ch)
		if !errors.Is(err, attach.ErrEnded) && !errors.Is(err, attach.ErrLost) {
			return err == nil, err
		}
	}
	// It is ending, or being removed or started: look again when that is over,
	// or when its monitor listens.
	patience, cancel := context.WithTimeout(ctx, retryPause)
	defer cancel()
	err = c.Store.Wait(patience, id)
	if errors.Is(err, context.DeadlineExceeded) {
		err = ctx.Err()
	}
	return false, err
}

// changeStopped changes the record. The caller holds the lock.
func (c *Containers) changeStopped(ctx context.Context, id runner.ID, ch runner.Change) error {
	rec, err := c.bury(ctx, id)
	if err != nil {
		return err
	}
	cfg := rec.Config
	switch {
	case ch.Connect != nil:
		if err := cfg.Connect(*ch.Connect); err != nil {
			return err
		}
	case ch.Disconnect != "":
		if err := cfg.Disconnect(ch.Disconnect); err != nil {
			return err
		}
	case ch.Rename != "":
		cfg.Name = ch.Rename
		cfg.NameEndpoints()
		return c.Store.Rename(&rec.Config, &cfg, func() error { return nil })
	default:
		return nil // to stop: it does not run
	}
	return c.Store.SetConfig(&cfg)
}

// Rename gives the container another name.
func (c *Containers) Rename(ctx context.Context, rec *runner.Container, name string) error {
	if err := runner.CheckName(name); err != nil {
		return err
	}
	if err := c.Change(ctx, rec, runner.Change{Rename: name}); err != nil {
		return err
	}
	old := rec.Name
	rec.Name = name
	c.note(&rec.Config, "rename", map[string]string{"oldName": old})
	return nil
}

// Keep has a running container that would be removed at its end (--rm) stay, for one
// more start.
func (c *Containers) Keep(ctx context.Context, rec *runner.Container) error {
	if !rec.AutoRemove || !rec.State.Status.Active() {
		return nil
	}
	return c.Change(ctx, rec, runner.Change{Keep: true})
}

// wantStop tells a monitor that would restart the container not to.
func (c *Containers) wantStop(ctx context.Context, rec *runner.Container) error {
	if rec.Restart.When == runner.RestartNo || !rec.State.Status.Active() {
		return nil
	}
	return c.Change(ctx, rec, runner.Change{Stop: true})
}
