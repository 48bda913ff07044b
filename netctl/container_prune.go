package netctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

func (c containers) prune() *cobra.Command {
	var force bool
	var pairs []string
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all stopped containers",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conditions, err := parseFilters(pairs, "label", "label!", "until")
			if err != nil {
				return err
			}
			if !force && !confirmed(c.app, "WARNING! This will remove all stopped containers.") {
				return nil
			}
			size, err := c.pruneMatching(cmd.Context(), conditions)
			fmt.Fprintf(c.app.Stdout, "Total reclaimed space: %s\n", units.HumanSize(float64(size)))
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&pairs, "filter", nil, "KEY=VALUE, by label, label!, until")
	return cmd
}

// pruneMatching removes the stopped containers that satisfy the conditions, and
// returns how many bytes they took.
func (c containers) pruneMatching(ctx context.Context, conditions filters) (int64, error) {
	list, err := c.filtered(ctx, conditions)
	if err != nil {
		return 0, err
	}
	all := c.all()
	var size int64
	var removed []string
	var failures []error
	for _, rec := range list {
		if rec.State.Status.Active() || all.Store.Locked(rec.Config.ID) {
			continue
		}
		usage := all.Store.Usage(rec.Config.ID)
		if err := all.Remove(ctx, &rec, false); err != nil {
			failures = append(failures, fmt.Errorf("remove container %s: %w", rec.Name, err))
			continue
		}
		size += usage
		removed = append(removed, string(rec.Config.ID))
	}
	if len(removed) > 0 {
		fmt.Fprintf(c.app.Stdout, "Deleted Containers:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return size, errors.Join(failures...)
}
