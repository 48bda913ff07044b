package conformance

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/conformance/rows"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print every row in a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, r := range rows.Catalogue() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %-6s  %-7s  %-36s  %s\n", r.ID, r.Level, r.Profile, r.Scope, r.Statement)
			}
			return nil
		},
	}
}

func explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "explain ROW...",
		Short:   "Print what a row says, where it comes from and how it is judged",
		Example: "  cni-conformance explain C056",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			for _, id := range ids {
				r, ok := rows.Find(strings.ToUpper(id))
				if !ok {
					return fmt.Errorf("there is no row %q; `cni-conformance list` prints them", id)
				}
				judged := r.Judged
				if r.Check == nil {
					judged = "not judged: " + r.Never
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n\n  %s\n\n  level    %s\n  profile  %s\n  scope    %s\n  judged   %s\n", r.ID, r.Section, r.Statement, r.Level, r.Profile, r.Scope, judged)
			}
			return nil
		},
	}
}
