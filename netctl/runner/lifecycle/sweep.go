package lifecycle

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/spec"
	"github.com/netctl/netctl/netctl/runner/store"
)

// Sweep takes away what belongs to containers of which there is no record any
// more: processes, cgroups, namespaces, directories. Nothing should; but a record
// can be deleted by hand. Attachments are not looked at.
func (c *Containers) Sweep(ctx context.Context) error {
	errs := []error{c.Store.Sweep()}
	ids := map[runner.ID]bool{}
	for _, dir := range []string{c.Store.NetnsDir(), c.Store.EngineRoot()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if id, err := runner.ParseID(filepath.Base(e.Name())); err == nil {
				ids[id] = true
			}
		}
	}
	for id := range ids {
		if ctx.Err() != nil {
			break
		}
		_, err := c.Store.Load(id)
		var missing *store.NotFoundError
		if !errors.As(err, &missing) || c.Store.Locked(id) {
			continue
		}
		cfg := &runner.Config{ID: id, CgroupParent: DefaultCgroupParent}
		errs = append(errs, c.engine().Remove(string(id), spec.CgroupPath(cfg)), namespace.RemoveNet(c.Store.NetnsPath(id)))
	}
	return errors.Join(errs...)
}
