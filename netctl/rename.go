package netctl

import (
	"github.com/spf13/cobra"
)

func (c containers) rename() *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW-NAME",
		Short:             "Give a container another name",
		Args:              args(2, 2),
		ValidArgsFunction: one(c.completion(anyStatus)),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := c.all()
			rec, err := all.Find(cmd.Context(), args[0])
			if err == nil {
				err = all.Rename(cmd.Context(), &rec, args[1])
			}
			return c.explain(err, args[0])
		},
	}
}
