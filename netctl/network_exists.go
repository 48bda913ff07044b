package netctl

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/network"
)

func (c networkCommands) exists() *cobra.Command {
	return &cobra.Command{
		Use:               "exists NETWORK",
		Short:             "Tell by the exit status whether a network exists: 0 yes, 1 no",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeNetworks,
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := c.store().Find(args[0])
			var missing *network.NotFoundError
			switch {
			case errors.As(err, &missing):
				return statusError(1)
			case err != nil:
				return &Error{Status: ExitUsage, Err: err} // neither yes nor no
			}
			return nil
		},
	}
}
