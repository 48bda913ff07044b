package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

func listCommand() *cobra.Command {
	profile := string(trial.Netctl)
	cmd := &cobra.Command{
		Use:     "list [ROW...]",
		Short:   "Print rows, a line for each",
		Example: "  cni-conformance list\n  cni-conformance list C05* --profile spec",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			p, err := profileOf(profile)
			if err != nil {
				return err
			}
			patterns = upper(patterns)
			if err := knownPatterns(patterns, p); err != nil {
				return err
			}
			for _, chapter := range rows.Chapters() {
				listed(cmd.OutOrStdout(), chapter, patterns, p)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&profile, "profile", profile, "which rows: spec, runtime (and spec), netctl (all)")
	return cmd
}

// listed prints the rows of a chapter that were asked for, below its title.
func listed(w io.Writer, chapter rows.Chapter, patterns []string, profile trial.Profile) {
	title := "\n" + chapter.Title + "\n"
	for _, r := range chapter.Rows {
		if profile.Includes(r.Profile) && suite.Matches(patterns, r.ID) {
			fmt.Fprintf(w, "%s  %s  %-6s  %-7s  %-20s  %s\n", title, r.ID, r.Level, r.Profile, r.Scope, r.Statement)
			title = ""
		}
	}
}

// knownPatterns fails for a pattern that fits no row of the profile: nothing
// would be judged, and nothing would fail.
func knownPatterns(patterns []string, profile trial.Profile) error {
	for _, pattern := range patterns {
		fits := func(r trial.Row) bool { return suite.Matches([]string{pattern}, r.ID) }
		all := slices.DeleteFunc(rows.Catalogue(), func(r trial.Row) bool { return !fits(r) })
		if len(all) == 0 {
			return fmt.Errorf("there is no row %q; `cni-conformance list` prints them", pattern)
		}
		if !slices.ContainsFunc(all, func(r trial.Row) bool { return profile.Includes(r.Profile) }) {
			return fmt.Errorf("row %s is not in profile %s; it is in --profile %s", pattern, profile, all[0].Profile)
		}
	}
	return nil
}

// profileOf reads the name of a profile.
func profileOf(name string) (trial.Profile, error) {
	p := trial.Profile(name)
	if !slices.Contains(trial.Profiles(), p) {
		return "", fmt.Errorf("--profile %q: want one of %v", name, trial.Profiles())
	}
	return p, nil
}

// upper lets people write c056.
func upper(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = strings.ToUpper(id)
	}
	return out
}
