package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/store"
)

// ErrRunning: the container must be stopped first.
var ErrRunning = errors.New("container is running")

// killTimeout is how long a killed container may take to end. The kill itself
// is immediate; what takes time is giving back its network.
const killTimeout = 60 * time.Second

// retryPause is how long a container that is just starting or ending is waited
// for before it is looked at again.
const retryPause = time.Second

// Stop asks the program to end by sig, and kills it after grace. A container that
// does not run is no error.
func (c *Containers) Stop(ctx context.Context, rec *runner.Container, sig unix.Signal, grace time.Duration) error {
	active := rec.State.Status.Active()
	if active {
		if err := c.wantStop(ctx, rec); err != nil {
			return err
		}
		if err := c.Signal(rec, sig); err != nil && !errors.Is(err, engine.ErrNotRunning) {
			return err
		}
	}
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := c.Store.Wait(patience, rec.Config.ID)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = c.Kill(ctx, rec)
	}
	if err == nil && active {
		c.note(&rec.Config, "stop", nil)
	}
	return err
}

// Kill ends the container and returns when its network is given back.
func (c *Containers) Kill(ctx context.Context, rec *runner.Container) error {
	if err := c.wantStop(ctx, rec); err != nil {
		return err
	}
	if err := c.Signal(rec, unix.SIGKILL); err != nil && !errors.Is(err, engine.ErrNotRunning) {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	err := c.Store.Wait(patience, rec.Config.ID)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("container %s was killed but its monitor has not ended in %v", rec.Name, killTimeout)
	}
	return err
}

// Signal sends one to the container's first process. While it is being started
// there is none yet; then the monitor gets to know, and ends the start if the
// signal says so.
func (c *Containers) Signal(rec *runner.Container, sig unix.Signal) error {
	box, err := c.engine().Load(string(rec.Config.ID))
	if err == nil {
		err = box.Signal(sig)
	}
	if !errors.Is(err, engine.ErrNotRunning) {
		return err
	}
	conn, dialErr := attach.Dial(c.Store.SocketPath(rec.Config.ID))
	if dialErr != nil {
		return err
	}
	defer conn.Close()
	sendErr := conn.Send(attach.Signal, []byte{byte(sig)})
	if errors.Is(sendErr, unix.EPIPE) || errors.Is(sendErr, unix.ECONNRESET) {
		return err // it has ended meanwhile
	}
	return sendErr
}

// Wait returns the exit code when the container has ended.
func (c *Containers) Wait(ctx context.Context, rec *runner.Container) (int, error) {
	if !rec.State.Status.Active() {
		return rec.State.ExitCode, nil
	}
	// The monitor says it, even if the record goes with it.
	if conn, err := attach.Dial(c.Store.SocketPath(rec.Config.ID)); err == nil {
		code, err := attach.Wait(ctx, conn)
		if !errors.Is(err, attach.ErrLost) {
			return code, err
		}
	}
	if err := c.Store.Wait(ctx, rec.Config.ID); err != nil {
		return 0, err
	}
	now, err := c.load(ctx, rec.Config.ID)
	return now.State.ExitCode, err
}

// Remove deletes the container: its network, files, record and name. A running
// one only by force; then also if something of it could not be given back, which
// the error tells.
func (c *Containers) Remove(ctx context.Context, rec *runner.Container, force bool) error {
	id := rec.Config.ID
	// What the caller read may be older than a start: to wait for a running
	// container's lock would be to wait for its end.
	if now, err := c.Store.Load(id); err == nil {
		rec = &now
	}
	if rec.State.Status.Active() {
		if !force {
			return ErrRunning
		}
		if err := c.Kill(ctx, rec); err != nil {
			return err
		}
	}
	// A monitor that has written its last state may still hold the lock.
	if err := c.Store.Wait(ctx, id); err != nil {
		return err
	}
	lock, err := c.Store.Lock(id)
	var missing *store.NotFoundError
	if errors.As(err, &missing) {
		return nil // it was to remove itself at its end
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", rec.Name, err)
	}
	defer lock.Close()
	return c.removeLocked(ctx, id, force)
}

func (c *Containers) removeLocked(ctx context.Context, id runner.ID, force bool) error {
	rec, err := c.Store.Load(id)
	if err != nil {
		return err
	}
	released := monitor.Release(ctx, c.Store, c.Networks, nil, &rec)
	if released != nil && !force {
		return released
	}
	rec.State.Status = runner.StatusRemoving
	if err := c.Store.SetState(id, rec.State); err != nil {
		return errors.Join(released, err)
	}
	if err := errors.Join(released, c.Store.Remove(id, rec.Name)); err != nil {
		return err
	}
	c.note(&rec.Config, "destroy", nil)
	return nil
}
