package conformance

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/conformance/report"
	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/trial"
)

func explainCommand() *cobra.Command {
	var from string
	var subjects []string
	cmd := &cobra.Command{
		Use:   "explain ROW...",
		Short: "Print what a row says, where it comes from, how it is judged, and how it came out",
		Example: `  cni-conformance explain C056
  cni-conformance explain C056 --from result.json --subject bridge`,
		Args: func(_ *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				return fmt.Errorf("explain: which row? `cni-conformance list` prints them")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			var run *report.Run
			if from != "" {
				var err error
				if run, err = report.Read(from); err != nil {
					return err
				}
			}
			for i, id := range upper(ids) {
				r, ok := rows.Find(id)
				if !ok {
					return fmt.Errorf("there is no row %q; `cni-conformance list` prints them", id)
				}
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				explain(cmd.OutOrStdout(), r)
				if run != nil {
					cameOut(cmd.OutOrStdout(), run, id, subjects)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "a run's JSON record: print what was sent and what came back in it as well")
	cmd.Flags().StringSliceVar(&subjects, "subject", nil, "with --from, only these plugins")
	return cmd
}

// explain prints what is true of a row for every plugin.
func explain(w io.Writer, r trial.Row) {
	judged := r.Judged
	if r.Check == nil {
		judged = "not judged: " + r.Never
	}
	fmt.Fprintf(w, "%s  %s\n\n", r.ID, r.Statement)
	for _, field := range [][2]string{
		{"level", string(r.Level)}, {"profile", string(r.Profile)}, {"source", r.Section}, {"scope", r.Scope.String()}, {"judged", judged},
	} {
		fmt.Fprintf(w, "  %-8s %s\n", field[0], field[1])
	}
}

// cameOut prints how a row came out in a run.
func cameOut(w io.Writer, run *report.Run, id string, subjects []string) {
	judged := false
	for _, r := range run.Results {
		if r.Row != id || len(subjects) > 0 && !slices.Contains(subjects, r.Subject) {
			continue
		}
		judged = true
		fmt.Fprintf(w, "\n%s on %s", r.Verdict, r.Subject)
		if r.Reason != "" {
			fmt.Fprintf(w, ": %s", r.Reason)
		}
		fmt.Fprintln(w)
		r.Describe(w)
	}
	if !judged {
		fmt.Fprintf(w, "\nnot judged in this run\n")
	}
}
