package monitor

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/go-archive"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/store"
)

// makeVolume makes a volume on its first use. As in docker it begins with what
// the image has at that place; but not what this host has: a volume over a
// directory of the image "host" would copy that.
func (m *monitor) makeVolume(mount runner.Mount) error {
	v, err := m.store.CreateVolume(mount.Source, nil)
	if errors.Is(err, store.ErrVolumeExists) {
		return nil
	}
	if err != nil {
		return err
	}
	e := events.Event{Kind: events.Volume, Action: "create", ID: v.Name, Attributes: map[string]string{"driver": "local"}}
	if err := m.events.Append(e); err != nil {
		m.log.Warn("event", "err", err)
	}
	if mount.NoCopy || slices.Contains(m.cfg.Layers, "/") {
		return nil
	}
	dir, err := rootfs.OpenDir(m.overlay.Merged, mount.Target)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("fill volume %s: %w", v.Name, err)
	}
	defer dir.Close()
	if err := m.copyInside(dir, v.Path); err != nil {
		return fmt.Errorf("fill volume %s with the image's %s: %w", v.Name, mount.Target, err)
	}
	return nil
}

// copyInside copies a directory of the container's with ids as it sees them.
func (m *monitor) copyInside(dir *os.File, to string) error {
	files, err := archive.TarWithOptions(fmt.Sprintf("/proc/self/fd/%d/", dir.Fd()), &archive.TarOptions{IDMap: m.cfg.Userns.IDs})
	if err != nil {
		return err
	}
	defer files.Close()
	return archive.UntarUncompressed(files, to, nil)
}

// errInUse: the volume stays.
var errInUse = errors.New("another container has it mounted")

// removeVolumes deletes the container's anonymous volumes (--rm), but for those
// that other containers have mounted since.
func (m *monitor) removeVolumes() error {
	var errs []error
	for _, name := range m.cfg.AnonymousVolumes() {
		err := m.store.RemoveVolume(name, func() error {
			users, err := m.store.VolumeUsers(name)
			others := slices.ContainsFunc(users, func(rec runner.Container) bool { return rec.Config.ID != m.cfg.ID })
			if err == nil && others {
				err = errInUse
			}
			return err
		})
		if !errors.Is(err, errInUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
