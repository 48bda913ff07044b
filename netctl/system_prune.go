package netctl

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

type systemPruneFlags struct {
	force, all, volumes bool
	filters             []string
}

func systemPruneCommand(app *App) *cobra.Command {
	var f systemPruneFlags
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all that is unused: stopped containers, networks, images, leftovers of killed commands",
		Args:  args(0, 0),

		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return systemPrune(ctx, app, f)
		},
	}
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "do not ask")
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "images with a name, and with --volumes volumes with a name, too")
	cmd.Flags().BoolVar(&f.volumes, "volumes", false, "anonymous volumes too")
	cmd.Flags().StringArrayVar(&f.filters, "filter", nil, "remove only some, as KEY=VALUE: "+strings.Join(pruneFilters(), ", "))
	return cmd
}

func systemPrune(ctx context.Context, app *App, f systemPruneFlags) error {
	conditions, err := parseFilters(f.filters, pruneFilters()...)
	if err != nil {
		return err
	}
	if f.volumes && len(conditions["until"]) > 0 {
		return usageError("--filter until can't be combined with --volumes: a volume's age says nothing of its use")
	}
	if !f.force && !confirmed(app, f.warning()) {
		return nil
	}
	c := containers{app}
	size, err := c.pruneMatching(ctx, conditions)
	failures := []error{err, networkCommands{app}.pruneNetworks(ctx, f.filters)}
	removed, err := images{app}.pruneImages(f.all, f.filters)
	images{app}.say(removed)
	size += removed.Bytes
	failures = append(failures, err)
	if f.volumes {
		more, err := volumes{app}.pruneUnused(ctx, conditions, f.all)
		size += more
		failures = append(failures, err)
	}
	failures = append(failures, c.sweep(ctx))
	fmt.Fprintf(app.Stdout, "Total reclaimed space: %s\n", units.HumanSize(float64(size)))
	return errors.Join(failures...)
}

func (f systemPruneFlags) warning() string {
	lines := []string{"WARNING! This will remove:", "  - all stopped containers", "  - all networks not used by at least one container"}
	if f.all {
		lines = append(lines, "  - all images not used by at least one container")
	} else {
		lines = append(lines, "  - all images without a name")
	}
	switch {
	case f.volumes && f.all:
		lines = append(lines, "  - all volumes not used by at least one container")
	case f.volumes:
		lines = append(lines, "  - all anonymous volumes not used by at least one container")
	}
	return strings.Join(append(lines, ""), "\n")
}

// sweep takes away what commands and monitors that were killed may have left:
// what belongs to a container of ours of which there is no record any more.
func (c containers) sweep(ctx context.Context) error {
	all := c.all()
	stale := map[string]bool{}
	records, err := networkCommands(c).attachments()
	failures := []error{err, all.Sweep(ctx)}
	for _, r := range records {
		ours := strings.HasPrefix(r.Netns, all.Store.NetnsDir()+"/")
		if _, err := all.Store.Lookup(r.Container); !ours || !isMissing(err) || stale[r.Network+"/"+r.Container] {
			continue
		}
		stale[r.Network+"/"+r.Container] = true
		n, err := networkCommands(c).store().Find(r.Network)
		if err == nil {
			err = networkCommands(c).disconnectStale(ctx, n, r.Container)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}
