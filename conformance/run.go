package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/report"
	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// runFlags are the flags of `run`.
type runFlags struct {
	dirs, confs, filter, kinds, env, subjects []string
	profileName, label                        string
	jsonFile, junitFile, knownFile            string
	workers                                   int
	verbose                                   bool
}

func runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run --plugin-dir DIR --conf FILE",
		Short: "Judge the plugins of a configuration list",
		Example: `  cni-conformance run --plugin-dir /opt/cni/bin --conf bridge.conflist
  cni-conformance run --plugin-dir . --conf mine.conf --profile runtime --filter C05* --json result.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.plan()
			if err != nil {
				return err
			}
			defer p.close()
			return p.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.dirs, "plugin-dir", nil, "directory with plugins, as in CNI_PATH (can be repeated)")
	flags.StringArrayVar(&f.confs, "conf", nil, "network configuration, .conf or .conflist (can be repeated)")
	flags.StringVar(&f.profileName, "profile", string(trial.Spec), "which rows: spec, runtime (and spec), netctl (all)")
	flags.StringSliceVar(&f.filter, "filter", nil, "only these rows, such as C056 or C05*")
	flags.StringSliceVar(&f.subjects, "subject", nil, "only these plugins, as the run names them")
	flags.StringSliceVar(&f.kinds, "kind", nil, "state the part a plugin plays, TYPE=interface|chained|ipam|other")
	flags.StringArrayVar(&f.env, "env", nil, "additional environment of every call, KEY=VALUE")
	flags.StringVar(&f.label, "label", "", "name of this run in comparisons")
	flags.StringVar(&f.knownFile, "known", "", "file of known deviations, lines of \"ROW PLUGIN reason\"")
	flags.StringVar(&f.jsonFile, "json", "", "write the full record here")
	flags.StringVar(&f.junitFile, "junit", "", "write JUnit XML here")
	flags.IntVar(&f.workers, "parallel", 3*runtime.NumCPU(), "rows judged at the same time")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "say why rows do not apply")
	cmd.MarkFlagRequired("plugin-dir")
	cmd.MarkFlagRequired("conf")
	return cmd
}

// plan is a run whose flags have been checked.
type plan struct {
	*runFlags
	profile     trial.Profile
	target      suite.Target
	known       []suite.Deviation
	json, junit *os.File // nil for none
}

// plan checks the flags and opens the files of the reports: a slip of the pen
// should be heard of before a run, not after it.
func (f *runFlags) plan() (*plan, error) {
	p := &plan{runFlags: f}
	var err error
	if p.profile, err = profileOf(f.profileName); err != nil {
		return nil, err
	}
	f.filter = upper(f.filter)
	if err := knownPatterns(f.filter, p.profile); err != nil {
		return nil, fmt.Errorf("--filter: %w", err)
	}
	if f.workers < 1 {
		return nil, fmt.Errorf("--parallel %d: want at least 1", f.workers)
	}
	if err := lab.Ready(); err != nil {
		return nil, err
	}
	if p.target, err = f.target(); err != nil {
		return nil, err
	}
	if f.knownFile != "" {
		if p.known, err = deviations(f.knownFile); err != nil {
			return nil, err
		}
	}
	for name, file := range map[string]**os.File{f.jsonFile: &p.json, f.junitFile: &p.junit} {
		if name == "" {
			continue
		}
		if *file, err = os.Create(name); err != nil {
			p.close()
			return nil, fmt.Errorf("write report: %w", err)
		}
	}
	return p, nil
}

// deviations reads the known ones; their rows must exist.
func deviations(file string) ([]suite.Deviation, error) {
	known, err := suite.ReadDeviations(file)
	if err != nil {
		return nil, err
	}
	for _, d := range known {
		if _, ok := rows.Find(d.Row); !ok {
			return nil, fmt.Errorf("%s: there is no row %q", file, d.Row)
		}
	}
	return known, nil
}

func (p *plan) close() {
	for _, file := range []*os.File{p.json, p.junit} {
		if file != nil {
			file.Close()
		}
	}
}

// cases finds what is to be judged, at least one.
func (p *plan) cases(subjects []*trial.Subject) ([]suite.Case, error) {
	var names []string
	for _, s := range subjects {
		names = append(names, s.Name)
	}
	for _, name := range p.subjects {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--subject %q: the configuration has %s", name, strings.Join(names, ", "))
		}
	}
	for plugin := range p.target.Kinds {
		if !slices.ContainsFunc(subjects, func(s *trial.Subject) bool { return s.Type == plugin }) {
			return nil, fmt.Errorf("--kind %s: the configuration has %s", plugin, strings.Join(names, ", "))
		}
	}
	cases := suite.Select(rows.Catalogue(), subjects, p.profile, p.filter, p.subjects)
	if len(cases) == 0 {
		return nil, fmt.Errorf("--filter %s concerns none of %s", strings.Join(p.filter, ","), strings.Join(names, ", "))
	}
	return cases, nil
}

func (p *plan) run(ctx context.Context, w io.Writer) error {
	subjects, err := suite.Discover(ctx, p.target)
	if err != nil {
		return err
	}
	cases, err := p.cases(subjects)
	if err != nil {
		return err
	}
	terminal := newTerminal(w, len(cases))
	terminal.Begin(subjects, p.profile)
	started := time.Now()
	results := suite.Run(ctx, cases, p.workers, p.target.Self, terminal.Done)
	stale := suite.Excuse(results, p.known)
	doc := report.New(report.Run{Suite: version(), Label: p.label, Command: p.command(), Profile: p.profile}, time.Since(started), subjects, results)
	terminal.Failures(doc)
	terminal.Known(doc)
	if p.verbose {
		terminal.Reasons(doc)
	}
	terminal.Summary(doc)
	for _, d := range stale {
		fmt.Fprintf(w, "known deviation %s of %s did not happen: remove it from %s\n", d.Row, d.Subject, p.knownFile)
	}
	if err := p.write(doc); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case !suite.Count(results).Clean():
		return errNotConforming
	}
	return nil
}

func (p *plan) write(doc *report.Run) error {
	var errs []error
	if p.json != nil {
		errs = append(errs, doc.WriteJSON(p.json))
	}
	if p.junit != nil {
		errs = append(errs, doc.WriteJUnit(p.junit))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func newTerminal(w io.Writer, total int) *report.Terminal {
	live := isTerminal(w)
	return &report.Terminal{W: w, Live: live, Colour: live && os.Getenv("NO_COLOR") == "", Total: total}
}

// isTerminal reports whether w is a terminal rather than a file or a pipe.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
