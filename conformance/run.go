package conformance

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/report"
	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// runFlags are the flags of `run`.
type runFlags struct {
	dirs, confs, filter, kinds, env []string
	profile, subject, label         string
	jsonFile, junitFile, knownFile  string
	workers                         int
	profileValue                    trial.Profile
	target                          suite.Target
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
			if err := f.check(); err != nil {
				return err
			}
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.dirs, "plugin-dir", nil, "directory with plugins, as in CNI_PATH (can be repeated)")
	flags.StringArrayVar(&f.confs, "conf", nil, "network configuration, .conf or .conflist (can be repeated)")
	flags.StringVar(&f.profile, "profile", string(trial.Spec), "which rows: spec, runtime (and spec), netctl (all)")
	flags.StringSliceVar(&f.filter, "filter", nil, "only these rows, such as C056 or C05*")
	flags.StringVar(&f.subject, "subject", "", "only this plugin")
	flags.StringSliceVar(&f.kinds, "kind", nil, "state the part a plugin plays, TYPE=interface|chained|ipam|other")
	flags.StringArrayVar(&f.env, "env", nil, "additional environment of every call, KEY=VALUE")
	flags.StringVar(&f.label, "label", "", "name of this run in comparisons")
	flags.StringVar(&f.knownFile, "known", "", "file of known deviations, lines of \"ROW PLUGIN reason\"")
	flags.StringVar(&f.jsonFile, "json", "", "write the full record here")
	flags.StringVar(&f.junitFile, "junit", "", "write JUnit XML here")
	flags.IntVar(&f.workers, "parallel", 3*runtime.NumCPU(), "rows judged at the same time")
	cmd.MarkFlagRequired("plugin-dir")
	cmd.MarkFlagRequired("conf")
	return cmd
}

// check turns the flags into a target.
func (f *runFlags) check() error {
	f.profileValue = trial.Profile(f.profile)
	if !slices.Contains(trial.Profiles(), f.profileValue) {
		return fmt.Errorf("--profile %q: want one of %v", f.profile, trial.Profiles())
	}
	if f.workers < 1 {
		return fmt.Errorf("--parallel %d: want at least 1", f.workers)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program's own file: %w", err)
	}
	f.target = suite.Target{Confs: f.confs, Self: self, Kinds: map[string]trial.Kind{}, Env: map[string]string{}}
	for _, dir := range f.dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("--plugin-dir %q: %w", dir, err)
		}
		f.target.Dirs = append(f.target.Dirs, abs)
	}
	return f.pairs()
}

// pairs reads the flags of the form KEY=VALUE.
func (f *runFlags) pairs() error {
	kinds := []trial.Kind{trial.Interface, trial.Chained, trial.IPAM, trial.Other}
	for _, pair := range f.kinds {
		plugin, name, _ := strings.Cut(pair, "=")
		i := slices.IndexFunc(kinds, func(k trial.Kind) bool { return k.String() == name })
		if i < 0 {
			return fmt.Errorf("--kind %q: want TYPE=interface, chained, ipam or other", pair)
		}
		f.target.Kinds[plugin] = kinds[i]
	}
	for _, pair := range f.env {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--env %q: want KEY=VALUE", pair)
		}
		f.target.Env[key] = value
	}
	return nil
}

func (f *runFlags) run(ctx context.Context, w io.Writer) error {
	var known []suite.Deviation
	if f.knownFile != "" {
		var err error
		if known, err = suite.ReadDeviations(f.knownFile); err != nil {
			return err
		}
	}
	subjects, err := suite.Discover(ctx, f.target)
	if err != nil {
		return err
	}
	cases := suite.Select(rows.Catalogue(), subjects, f.profileValue, f.filter, f.subject)
	terminal := &report.Terminal{W: w, Live: isTerminal(w), Total: len(cases)}
	terminal.Begin(subjects, f.profileValue)
	started := time.Now()
	results := suite.Run(ctx, cases, f.workers, f.target.Self, terminal.Done)
	stale := suite.Excuse(results, known)
	doc := report.New(f.label, f.profileValue, time.Since(started), subjects, results, f.again)
	terminal.Failures(doc, statement)
	terminal.Summary(doc)
	for _, d := range stale {
		fmt.Fprintf(w, "known deviation %s on %s did not happen: remove it from %s\n", d.Row, d.Subject, f.knownFile)
	}
	if err := f.write(doc); err != nil {
		return err
	}
	if !suite.Count(results).Clean() {
		return errNotConforming
	}
	return nil
}

// again is the command line that judges one case once more.
func (f *runFlags) again(c suite.Case) string {
	words := []string{"cni-conformance", "run"}
	for _, dir := range f.target.Dirs {
		words = append(words, "--plugin-dir", dir)
	}
	for _, conf := range f.confs {
		words = append(words, "--conf", conf)
	}
	for _, pair := range f.kinds {
		words = append(words, "--kind", pair)
	}
	for _, pair := range f.env {
		words = append(words, "--env", pair)
	}
	words = append(words, "--profile", f.profile, "--filter", c.Row.ID, "--subject", c.Subject.Name)
	for i := range words {
		words[i] = protocol.Quote(words[i])
	}
	return strings.Join(words, " ")
}

func (f *runFlags) write(doc *report.Run) error {
	if err := toFile(f.jsonFile, doc.WriteJSON); err != nil {
		return err
	}
	return toFile(f.junitFile, func(w io.Writer) error { return doc.WriteJUnit(w, statement) })
}

// toFile writes a report; an empty name means it was not asked for.
func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := write(file); err != nil {
		file.Close()
		return fmt.Errorf("write report %s: %w", name, err)
	}
	return file.Close()
}

func statement(id string) string {
	row, _ := rows.Find(id)
	return row.Statement
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
