package netctl

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
)

func (c networkCommands) remove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm NETWORK...",
		Aliases:           []string{"remove"},
		Short:             "Remove networks",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeRemovable,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.removeAll(ctx, args, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "no error for networks that do not exist")
	return cmd
}

// removeAll goes on after a failure and reports each.
func (c networkCommands) removeAll(ctx context.Context, refs []string, force bool) error {
	var failures []error
	for _, ref := range refs {
		n, err := c.store().Find(ref)
		var missing *network.NotFoundError
		if errors.As(err, &missing) && force {
			continue
		}
		if err == nil {
			err = c.removeOne(ctx, n)
		}
		if err != nil {
			failures = append(failures, networkError(err))
			continue
		}
		fmt.Fprintln(c.app.Stdout, ref)
	}
	return errors.Join(failures...)
}

func (c networkCommands) removeOne(ctx context.Context, n network.Network) error {
	if isOverlay(n.Driver) {
		return c.removeOverlay(ctx, n)
	}
	return c.store().Remove(n, func() error {
		users, err := c.users()
		if err != nil {
			return err
		}
		if len(users[n.Name]) > 0 {
			return inUse(n, users[n.Name])
		}
		if err := c.app.networks().RemoveNetwork(ctx, n); err != nil {
			return err
		}
		c.note(n, "destroy", nil)
		return nil
	})
}

func inUse(n network.Network, users []user) error {
	var list []string
	for _, u := range users {
		list = append(list, u.String())
	}
	return &Error{
		Status: ExitInUse,
		Err:    fmt.Errorf("network %s is in use by: %s", n.Name, strings.Join(list, ", ")),
		Hint:   fmt.Sprintf("disconnect them first with 'netctl network disconnect -f %s CONTAINER', or remove them with 'netctl rm -f'", n.Name),
	}
}
