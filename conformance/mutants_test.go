package conformance_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/conformance"
	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/internal/mutant"
	"github.com/netctl/netctl/conformance/internal/refplugins"
	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// playProgram is set where the test binary is to be cni-conformance itself.
const playProgram = "CONFORMANCE_TEST_PROGRAM"

// TestMain lets the test binary play the program, and the programs the suite
// puts in place of plugins: mutants and the delegate.
func TestMain(m *testing.M) {
	if os.Getenv(playProgram) != "" {
		os.Exit(conformance.Main(os.Args))
	}
	if exit, played := mutant.Play(os.Args); played {
		os.Exit(exit)
	}
	if exit, played := double.Play(os.Args, os.Stdin, os.Stdout, os.Stderr); played {
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

// workers is how many rows run at once. Many of them wait more than they work.
const workers = 4

// share is how many parts the other rows are divided into by default.
const share = 64

// slowRows take seconds by nature. A mutant meets them only when they are
// meant for it.
func slowRows() []string {
	return []string{"C010", "C078", "C095", "C164", "C185", "C191", "C192"}
}

// TestMutants: each mutant is caught by the row meant for it and by no
// unrelated one. By default a mutant meets the rows it is meant for and a
// sixty-fourth of the others, another one each; with CONFORMANCE_FULL=1 all.
func TestMutants(t *testing.T) {
	real := reference(t)
	baselines := map[string]verdicts{}
	for i, m := range mutant.Mutations()[1:] {
		t.Run(m.Name, func(t *testing.T) {
			base := baselines[m.Plugin]
			if base == nil {
				base = verdicts{}
				baselines[m.Plugin] = base
			}
			base.add(judge(t, real, mutant.Unbroken(m.Plugin), func(row string) bool { return base[row] == "" && meets(i, m, row) }))
			got := judge(t, real, m, func(row string) bool { return meets(i, m, row) })
			if base[m.Row] != trial.Pass {
				t.Fatalf("%s is %s on the unbroken plugin; it cannot show that %s is caught", m.Row, base[m.Row], m.Name)
			}
			caught := got.newlyFailing(base)
			if !slices.Contains(caught, m.Row) {
				t.Errorf("%s is not caught by %s, which is %s", m.Name, m.Row, got[m.Row])
			}
			for _, row := range caught {
				if row != m.Row && !slices.Contains(m.Also, row) {
					t.Errorf("%s is caught by the unrelated %s", m.Name, row)
				}
			}
		})
	}
}

// quick leaves the slow rows out.
func quick(row string) bool { return !slices.Contains(slowRows(), row) }

// meets decides whether mutant number i runs a row.
func meets(i int, m mutant.Mutation, row string) bool {
	switch {
	case row == m.Row || slices.Contains(m.Also, row):
		return true
	case !quick(row):
		return false
	}
	return full() || number(row)%share == i%share
}

// verdicts are the rows' verdicts on one subject.
type verdicts map[string]trial.Verdict

// add takes over the verdicts of another run.
func (v verdicts) add(more verdicts) {
	for row, verdict := range more {
		v[row] = verdict
	}
}

// newlyFailing lists the rows that fail here and did not in the baseline.
func (v verdicts) newlyFailing(base verdicts) []string {
	var out []string
	for row, verdict := range v {
		if verdict == trial.Fail && base[row] != trial.Fail {
			out = append(out, row)
		}
	}
	slices.Sort(out)
	return out
}

// reference builds the reference plugins once per test.
func reference(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := refplugins.Build(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// judge runs rows on the plugin of a mutation.
func judge(t *testing.T, real string, m mutant.Mutation, keep func(row string) bool) verdicts {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := mutant.Install(dir, real, self, m); err != nil {
		t.Fatal(err)
	}
	target := suite.Target{Dirs: []string{dir}, Confs: []string{"testdata/mutants.conflist"}, Self: self}
	subjects, err := suite.Discover(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	cases := suite.Select(rows.Catalogue(), subjects, trial.Netctl, nil, m.Plugin)
	cases = slices.DeleteFunc(cases, func(c suite.Case) bool { return !keep(c.Row.ID) })
	out := verdicts{}
	for _, r := range suite.Run(t.Context(), cases, workers, self, func(suite.Result) {}) {
		out[r.Row.ID] = r.Verdict
		if r.Verdict == trial.Fail || r.Verdict == trial.Blocked {
			t.Logf("%s %s: %s%s", r.Row.ID, r.Verdict, r.Reason, findings(r))
		}
	}
	return out
}

func findings(r suite.Result) string {
	var lines []string
	for _, f := range r.Findings[:min(2, len(r.Findings))] {
		lines = append(lines, "wanted "+f.Want+", got "+f.Got)
	}
	return strings.Join(lines, "; ")
}
