package netctl

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c containers) diff() *cobra.Command {
	return &cobra.Command{
		Use:               "diff CONTAINER",
		Short:             "List the files a container has added (A), changed (C) or deleted (D)",
		Args:              args(1, 1),
		ValidArgsFunction: one(c.completion(anyStatus)),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := c.all()
			rec, err := all.Find(cmd.Context(), args[0])
			if err != nil {
				return c.explain(err, args[0])
			}
			changes, err := all.Diff(&rec)
			for _, ch := range changes {
				fmt.Fprintln(c.app.Stdout, ch.Kind, visibleLine(ch.Path)) // a name of the container's choice
			}
			return err
		},
	}
}
