package netctl

import (
	"cmp"
	"context"
	"fmt"
)

// preview prints what `run` would have the kernel do for the container's
// networks, as the commands that a person would type.
func (c containers) preview(ctx context.Context, f *containerFlags, args []string) error {
	cfg, err := c.newConfig(f, args)
	if err != nil {
		return err
	}
	lines, err := c.app.networks().Preview(ctx, cmp.Or(cfg.Name, "container"), cfg.Endpoints)
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(c.app.Stdout, line)
	}
	return nil
}
