package netctl

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/plugins/overlay/control"
)

func overlayReclaim(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "reclaim NODE", Short: "Take the pools away from a host that is gone for good",
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			what, err := app.overlayd().Reclaim(cmd.Context(), args[0])
			if err == nil {
				fmt.Fprintln(app.Stdout, visibleLine(what))
			}
			return overlayError(err)
		},
	}
}

func overlayPolicy(app *App) *cobra.Command {
	var after, above string
	cmd := &cobra.Command{
		Use: "policy [OPTIONS]", Short: "Show or change when hosts that are gone lose their pools by themselves",
		Long: `Without options, shows what is in force in the whole cluster.

A host that was not there for --reclaim-after loses its pools once a network in
which it has some is used up to --reclaim-above. At most one host a minute is
reclaimed. It is told when it comes back, and gets other pools.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			change, err := policyChange(after, above)
			if err != nil {
				return err
			}
			now, err := app.overlayd().Policy(cmd.Context(), change)
			if err == nil {
				fmt.Fprintln(app.Stdout, policyText(now))
			}
			return overlayError(err)
		},
	}
	cmd.Flags().StringVar(&after, "reclaim-after", "", "how long a host must be absent, such as 72h, or 'never'")
	cmd.Flags().StringVar(&above, "reclaim-above", "", "how much of a network must be in use, in `percent`")
	return cmd
}

// policyChange reads the flags; an empty one changes nothing.
func policyChange(after, above string) (c control.PolicyChange, err error) {
	if after != "" {
		var d time.Duration
		if after != "never" {
			if d, err = time.ParseDuration(after); err != nil || d < time.Second {
				return c, usageError("--reclaim-after: invalid value %q: want a duration of a second or more, such as 72h, or never", after)
			}
		}
		c.ReclaimAfter = &d
	}
	if above != "" {
		percent, err := strconv.Atoi(strings.TrimSuffix(above, "%"))
		if err != nil || percent < 1 || percent > 100 {
			return c, usageError("--reclaim-above: invalid value %q: want a percentage from 1 to 100", above)
		}
		c.ReclaimAbove = &percent
	}
	return c, nil
}

func policyText(p control.Policy) string {
	if p.ReclaimAfter <= 0 {
		return "hosts that are gone keep their pools until somebody reclaims them"
	}
	return fmt.Sprintf("hosts are reclaimed that are gone for %v, when a network is used up to %d %%", p.ReclaimAfter, p.ReclaimAbove)
}

// keepTombstones is how long a host that was reclaimed can still learn of it.
const keepTombstones = 30 * 24 * time.Hour

func overlayPrune(app *App) *cobra.Command {
	var older time.Duration
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Forget hosts that were reclaimed long ago",
		Long: `What was taken from a host stays written down, so that the host is told when it
comes back. This removes what was written down long ago.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			pruned, err := app.overlayd().Prune(cmd.Context(), time.Now().Add(-older))
			for _, r := range pruned {
				fmt.Fprintf(app.Stdout, "%s (%s)\n", visibleLine(r.Node), visibleLine(r.ID))
			}
			return overlayError(err)
		},
	}
	cmd.Flags().DurationVar(&older, "older", keepTombstones, "only what is older than this")
	return cmd
}
