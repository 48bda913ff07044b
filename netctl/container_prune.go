package netctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
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
			if !force {
				yes, err := confirm(c.app.Stdin, c.app.Stdout, "This will remove all stopped containers.")
				if err != nil || !yes {
					return err
				}
			}
			return c.pruneMatching(cmd.Context(), conditions)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&pairs, "filter", nil, "KEY=VALUE, by label, label!, until")
	return cmd
}

func (c containers) pruneMatching(ctx context.Context, conditions filters) error {
	list, err := c.filtered(ctx, conditions)
	if err != nil {
		return err
	}
	all := c.all()
	var failures []error
	for _, rec := range list {
		if rec.State.Status.Active() || all.Store.Locked(rec.Config.ID) || rec.State.Status == runner.StatusStarting {
			continue
		}
		if err := all.Remove(ctx, &rec, false); err != nil {
			failures = append(failures, fmt.Errorf("remove container %s: %w", rec.Name, err))
			continue
		}
		fmt.Fprintln(c.app.Stdout, rec.Config.ID)
	}
	return errors.Join(failures...)
}

// confirm asks on the terminal; anything but y is no.
func confirm(in io.Reader, out io.Writer, warning string) (bool, error) {
	fmt.Fprintf(out, "WARNING! %s\nAre you sure you want to continue? [y/N] ", warning)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return strings.EqualFold(strings.TrimSpace(line), "y"), nil
}
