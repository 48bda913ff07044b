package netctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func (c networkCommands) prune() *cobra.Command {
	var force bool
	var pairs []string
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove the networks that no container uses, running or stopped",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if _, err := parseFilters(pairs, pruneFilters()...); err != nil {
				return err
			}
			const warning = "WARNING! This will remove all networks not used by at least one container."
			if !force && !confirmed(c.app, warning) {
				return nil
			}
			return c.pruneNetworks(ctx, pairs)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&pairs, "filter", nil, "remove only some, as KEY=VALUE: "+strings.Join(pruneFilters(), ", "))
	c.completeFilter(cmd, pruneFilters())
	return cmd
}

func pruneFilters() []string { return []string{"label", "label!", "until"} }

// pruneNetworks removes what is ours, not predefined, and used by nobody. A
// network that somebody starts to use meanwhile is simply kept.
func (c networkCommands) pruneNetworks(ctx context.Context, pairs []string) error {
	networks, err := c.filtered(append(pairs, "dangling=true"))
	if err != nil {
		return err
	}
	var failures []error
	var removed []string
	for _, n := range networks {
		if !n.Ours {
			continue
		}
		err := c.removeOne(ctx, n)
		var e *Error
		switch {
		case err == nil:
			removed = append(removed, n.Name)
		case errors.As(err, &e) && e.Status == ExitInUse:
		default:
			failures = append(failures, err)
		}
	}
	if len(removed) > 0 {
		fmt.Fprintf(c.app.Stdout, "Deleted Networks:\n%s\n\n", strings.Join(removed, "\n"))
	}
	return errors.Join(failures...)
}

// confirmed asks as docker does; anything but y or yes is a no.
func confirmed(app *App, warning string) bool {
	fmt.Fprintf(app.Stdout, "%s\nAre you sure you want to continue? [y/N] ", warning)
	answer, err := bufio.NewReader(app.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
