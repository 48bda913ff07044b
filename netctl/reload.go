package netctl

import (
	"fmt"

	"github.com/spf13/cobra"
)

// reload makes rules, bridges and forwarding anew from the ledger.
func (c networkCommands) reload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the host's packet-filter rules anew, after a flush",
		Long: `Make the host's packet-filter rules, bridges and forwarding anew from the record
of what is attached: after a firewall was reloaded or flushed, or with --firewall to
change the mechanism of a running host. Connections and containers are not touched.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := newPlumbing(c.app).host.Reload(cmd.Context())
			if err != nil {
				return fmt.Errorf("reload: %w", err)
			}
			fmt.Fprintf(c.app.Stdout, "%d attachments\n", n)
			return nil
		},
	}
	return cmd
}
