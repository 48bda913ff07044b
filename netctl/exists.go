package netctl

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	imagestore "github.com/netctl/netctl/netctl/image/store"
	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner/store"
)

// existsCommand is podman's `exists` of a kind of thing: the status is the answer. find
// returns an error of type missing where there is none of that name.
func existsCommand[missing error](thing, argument string, complete cobra.CompletionFunc, find func(context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:               "exists " + argument,
		Short:             "Tell by the exit status whether " + thing + " exists: 0 yes, 1 no",
		Args:              args(1, 1),
		ValidArgsFunction: one(complete),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := find(cmd.Context(), args[0])
			var none missing
			switch {
			case errors.As(err, &none):
				return statusError(1)
			case err != nil:
				return &Error{Status: ExitUsage, Err: err} // neither yes nor no
			}
			return nil
		},
	}
}

func (c networkCommands) exists() *cobra.Command {
	return existsCommand[*network.NotFoundError]("a network", "NETWORK", c.completeNetworks, func(_ context.Context, name string) error {
		_, err := c.store().Find(name)
		return err
	})
}

func (c containers) exists() *cobra.Command {
	return existsCommand[*store.NotFoundError]("a container", "CONTAINER", c.completion(anyStatus), func(ctx context.Context, name string) error {
		_, err := c.all().Find(ctx, name)
		return err
	})
}

func (i images) exists() *cobra.Command {
	return existsCommand[*imagestore.NotFoundError]("an image", "IMAGE", i.completion(), func(_ context.Context, name string) error {
		_, err := i.store().Find(name)
		return err
	})
}

func (v volumes) exists() *cobra.Command {
	return existsCommand[*store.NoVolumeError]("a volume", "VOLUME", v.complete, func(_ context.Context, name string) error {
		_, err := v.all().Store.Volume(name)
		return err
	})
}
