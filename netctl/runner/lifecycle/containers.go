// Package lifecycle is what commands call: create, start, stop, remove, list.
// Each call works on the record of one container and on the kernel; where a
// monitor is alive it does the work, where one has died its work is finished
// here.
//
// The rule for that: a record that says a monitor should be alive, and a lock
// nobody holds, is a container whose monitor was killed. The next command that
// sees it kills what is left of it, gives back its network, and writes down that
// nobody knows how it ended. There is no attempt to adopt it.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/store"
	"github.com/netctl/netctl/netctl/runner/subid"
)

// Containers are the containers of a pair of state directories.
type Containers struct {
	Store    *store.Store
	Networks runner.Networks
	// Monitor is executed for each container. Its environment is also that of
	// the network plugins that monitors execute.
	Monitor monitor.Executable
	Log     *slog.Logger
	// SubIDs is where ids for user namespaces are set aside.
	SubIDs subid.Files
}

// DefaultCgroupParent is where containers' cgroups are made.
const DefaultCgroupParent = "/netctl"

// Create makes a container that does not run yet. It fills in what cfg leaves
// open: ID, name, time, host name.
func (c *Containers) Create(cfg *runner.Config) error { return c.create(cfg, runner.NewID()) }

func (c *Containers) create(cfg *runner.Config, id runner.ID) error {
	named := cfg.Name != ""
	if named {
		if err := runner.CheckName(cfg.Name); err != nil {
			return err
		}
	}
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = DefaultCgroupParent
	}
	cfg.ID, cfg.Created = id, time.Now()
	if cfg.Hostname == "" {
		cfg.Hostname = cfg.ID.Short()
	}
	for {
		if !named {
			cfg.Name = runner.RandomName()
		}
		cfg.NameEndpoints()
		err := c.record(cfg)
		var taken *store.NameTakenError
		if !named && errors.As(err, &taken) {
			continue
		}
		if err == nil {
			c.note(cfg, "create", nil)
		}
		return err
	}
}

// record writes the record of a new container, with ids of the host that no other
// has if it wants some.
func (c *Containers) record(cfg *runner.Config) error {
	if !cfg.Userns.Auto {
		return c.Store.Create(cfg)
	}
	unlock, err := c.Store.LockIDs()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := c.Store.List()
	if err != nil {
		return err
	}
	var taken []user.IdentityMapping
	for _, rec := range all {
		if rec.Userns.Own() {
			taken = append(taken, rec.Userns.IDs)
		}
	}
	if cfg.Userns.IDs, err = c.SubIDs.Pick(cfg.Userns.Size, taken); err != nil {
		return fmt.Errorf("user namespace: %w", err)
	}
	return c.Store.Create(cfg)
}

// note records that something happened to a container.
func (c *Containers) note(cfg *runner.Config, action string, more map[string]string) {
	if err := events.Open(c.Store.StateRoot()).Append(events.OfContainer(cfg, action, more)); err != nil {
		c.Log.Warn("event", "action", action, "err", err)
	}
}

// Find returns the container with the name, ID or ID prefix.
func (c *Containers) Find(ctx context.Context, ref string) (runner.Container, error) {
	id, err := c.Store.Lookup(ref)
	if err != nil {
		return runner.Container{}, err
	}
	rec, err := c.load(ctx, id)
	var missing *store.NotFoundError
	if errors.As(err, &missing) {
		return rec, &store.NotFoundError{Ref: ref}
	}
	return rec, err
}

// List returns all containers, newest first. On its way it clears away what
// killed commands have left.
func (c *Containers) List(ctx context.Context) ([]runner.Container, error) {
	if err := c.Store.Sweep(); err != nil {
		c.Log.Warn("clear away leftovers", "err", err)
	}
	all, err := c.Store.List()
	if err != nil {
		return nil, err
	}
	var out []runner.Container
	for _, rec := range all {
		if c.orphaned(&rec) {
			rec, err = c.load(ctx, rec.Config.ID)
			var missing *store.NotFoundError
			if errors.As(err, &missing) {
				continue // it was to be removed at its end
			}
			if err != nil {
				c.Log.Warn("clean up after a dead monitor", "container", rec.Name, "err", err)
			}
		}
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b runner.Container) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// load reads a record and finishes the work of a dead monitor. Where that can't be written
// down, on a file system that is full or has become read-only, the record is what is
// known: who reads gets his answer, and who removes makes room.
func (c *Containers) load(ctx context.Context, id runner.ID) (runner.Container, error) {
	rec, err := c.Store.Load(id)
	if err != nil || !c.orphaned(&rec) {
		return rec, err
	}
	lock, err := c.Store.Lock(id)
	if errors.Is(err, store.ErrBusy) {
		return rec, nil // somebody else is at it
	}
	buried := rec
	if err == nil {
		defer lock.Close()
		buried, err = c.bury(ctx, id)
	}
	if errors.Is(err, unix.EROFS) || store.NoRoom(err) {
		c.Log.Warn("the monitor has died, which can't be written down", "container", rec.Name, "err", err)
		return buried, nil
	}
	return buried, err
}

func (c *Containers) orphaned(rec *runner.Container) bool {
	return rec.State.Status.Active() && !c.Store.Locked(rec.Config.ID)
}

// bury finishes the work of a dead monitor. The caller holds the lock.
func (c *Containers) bury(ctx context.Context, id runner.ID) (runner.Container, error) {
	rec, err := c.Store.Load(id)
	if err != nil || !rec.State.Status.Active() {
		return rec, err // it ended properly between our looking and locking
	}
	if err := monitor.Release(ctx, c.Store, c.Networks, nil, &rec); err != nil {
		return rec, fmt.Errorf("clean up container %s, whose monitor has died: %w", rec.Name, err)
	}
	if rec.AutoRemove {
		if err := c.Store.Remove(id, rec.Name); err != nil {
			return rec, err
		}
		return rec, &store.NotFoundError{Ref: string(id)}
	}
	rec.State = rec.State.Ended(time.Now(), runner.UnknownExit)
	rec.State.Error = "its monitor died"
	c.note(&rec.Config, "die", map[string]string{"exitCode": strconv.Itoa(runner.UnknownExit)})
	return rec, c.Store.SetState(id, rec.State)
}

func (c *Containers) engine() engine.Engine { return engine.Engine{Root: c.Store.EngineRoot()} }
