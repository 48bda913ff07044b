package lifecycle

import (
	"errors"
	"fmt"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/runner/store"
)

// VolumeInUseError says by which containers, running or not.
type VolumeInUseError struct {
	Volume string
	Users  []runner.Container
}

func (e *VolumeInUseError) Error() string {
	var users []string
	for _, u := range e.Users {
		users = append(users, fmt.Sprintf("%s (%s, %s)", u.Name, u.Config.ID.Short(), u.State.Status))
	}
	return fmt.Sprintf("volume %s is in use by: %s", e.Volume, strings.Join(users, ", "))
}

// RemoveVolume deletes a volume that no container mounts.
func (c *Containers) RemoveVolume(name string) error {
	err := c.Store.RemoveVolume(name, func() error {
		users, err := c.Store.VolumeUsers(name)
		if err == nil && len(users) > 0 {
			err = &VolumeInUseError{Volume: name, Users: users}
		}
		return err
	})
	if err == nil {
		c.NoteVolume(name, "destroy", nil)
	}
	return err
}

// RemoveVolumes deletes a removed container's anonymous volumes. One that another
// container has mounted since stays.
func (c *Containers) RemoveVolumes(rec *runner.Container) error {
	var errs []error
	for _, name := range rec.AnonymousVolumes() {
		err := c.RemoveVolume(name)
		var missing *store.NoVolumeError
		var inUse *VolumeInUseError
		if !errors.As(err, &missing) && !errors.As(err, &inUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// NoteVolume records that something happened to a volume.
func (c *Containers) NoteVolume(name, action string, more map[string]string) {
	e := events.Event{Kind: events.Volume, Action: action, ID: name, Attributes: map[string]string{"driver": "local"}}
	for k, v := range more {
		e.Attributes[k] = v
	}
	if err := events.Open(c.Store.StateRoot()).Append(e); err != nil {
		c.Log.Warn("event", "action", action, "err", err)
	}
}
