package netctl

import (
	"context"
	"fmt"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/plugins"
)

// reload makes rules, bridges and forwarding anew from the ledger.
func (c networkCommands) reload() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "reload [OPTIONS] [CONTAINER...]",
		Short: "Make the host's packet-filter rules anew, after a flush",
		Long: `Make the host's packet-filter rules, bridges and forwarding anew from the record
of what is attached: after a firewall was reloaded or flushed, or with --firewall to
change the mechanism of a running host and of the containers to come. Connections
and containers are not touched.

A container is named as podman has it: those of the whole host are made anew, which
costs no more, and the names of those that were meant are printed.

With --watch, stay and do it again whenever rules have been deleted, until SIGINT or
SIGTERM.`,
		Args:              args(0, -1),
		ValidArgsFunction: containers(c).completion(isActive),
		RunE: func(cmd *cobra.Command, refs []string) error {
			host := c.app.Host(c.app.Log)
			if watch {
				if len(refs) > 0 {
					return usageError("--watch is about the whole host: it takes no containers")
				}
				ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
				defer stop()
				return c.keepRules(ctx, host)
			}
			if len(refs) > 0 {
				return c.reloadFor(cmd.Context(), host, refs)
			}
			return c.reloadOnce(cmd.Context(), host)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "stay, and do it whenever somebody has flushed")
	cmd.Flags().BoolP("all", "a", false, "as without: of all containers")
	return cmd
}

func (c networkCommands) reloadOnce(ctx context.Context, host plugins.Host) error {
	n, err := host.Reload(ctx)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	fmt.Fprintf(c.app.Stdout, "%d attachments\n", n)
	return nil
}

// reloadFor is reload for the sake of some containers.
func (c networkCommands) reloadFor(ctx context.Context, host plugins.Host, refs []string) error {
	if _, err := host.Reload(ctx); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	return containers(c).each(ctx, refs, func(_ *lifecycle.Containers, rec *runner.Container) error {
		if !rec.State.Status.Active() {
			return fmt.Errorf("container %s is not running", rec.Name)
		}
		return nil
	})
}

// keepRules reloads now and after each flush, until ctx ends. A reload that
// fails is tried again, later each time: whoever holds the packet filter's lock
// lets it go some day.
func (c networkCommands) keepRules(ctx context.Context, host plugins.Host) error {
	flushed, err := host.WatchRules(ctx) // first, so that no flush comes between
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	const soonest, latest = time.Second, 30 * time.Second
	pause := soonest
	for {
		var again <-chan time.Time
		if err := c.reloadOnce(ctx, host); ctx.Err() != nil {
			return nil
		} else if err != nil {
			c.app.Log.Warn("trying again", "in", pause, "error", err)
			again, pause = time.After(pause), min(2*pause, latest)
		} else {
			pause = soonest
		}
		select {
		case _, open := <-flushed:
			if !open && ctx.Err() == nil {
				return fmt.Errorf("reload: the kernel announces changes no more")
			} else if !open {
				return nil
			}
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}
