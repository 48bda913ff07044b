package conformance_test

import (
	"flag"
	"slices"
	"sync"
	"testing"

	"github.com/netctl/netctl/conformance/internal/mutant"
	"github.com/netctl/netctl/conformance/rows"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

var onlyMutant = flag.String("mutant", "", "judge this mutant only")

// share is how many parts the other rows are divided into by default.
const share = 64

// TestMutants: each mutant is caught by the row meant for it, by those that
// see the same defect for a stated reason, and by no other. By default a mutant
// meets the row it is meant for, and every fourth one a sixty-fourth of the
// others, another one each; with CONFORMANCE_FULL=1 all.
//
// Everything is judged in one run, the unbroken plugins beside their mutants.
func TestMutants(t *testing.T) {
	mutants := slices.DeleteFunc(mutant.Mutations()[1:], func(m mutant.Mutation) bool {
		return *onlyMutant != "" && m.Name != *onlyMutant
	})
	meetings := map[string]rowSet{}  // by mutant
	perPlugin := map[string]rowSet{} // what the mutants of a plugin meet
	for i, m := range mutants {
		meetings[m.Name] = rowSet{}
		if perPlugin[m.Plugin] == nil {
			perPlugin[m.Plugin] = rowSet{}
		}
		for _, row := range rows.Catalogue() {
			if meets(i, m, row.ID) {
				meetings[m.Name][row.ID], perPlugin[m.Plugin][row.ID] = true, true
			}
		}
	}
	var acts []act
	for _, m := range mutants {
		acts = append(acts, act{m, meetings[m.Name]})
	}
	for plugin, met := range perPlugin {
		acts = append(acts, act{mutant.Unbroken(plugin), met})
	}
	results := perform(t, acts)
	base := map[string]verdicts{}
	for i, a := range acts[len(mutants):] {
		base[a.Plugin] = results[len(mutants)+i]
	}
	for i, m := range mutants {
		t.Run(m.Name, func(t *testing.T) { caught(t, m, results[i], base[m.Plugin]) })
	}
}

// caught compares a mutant's verdicts with those of the plugin it breaks.
func caught(t *testing.T, m mutant.Mutation, got, base verdicts) {
	if was := base[m.Row].Verdict; was != trial.Pass {
		t.Fatalf("%s is %s on the unbroken plugin; it cannot show that %s is caught%s", m.Row, was, m.Name, findings(base[m.Row]))
	}
	if (len(m.Also) > 0) != (m.Why != "") {
		t.Errorf("%s: Also and Why belong together", m.Name)
	}
	for row, r := range got {
		fails := r.Verdict == trial.Fail && base[row].Verdict != trial.Fail
		switch {
		case m.CaughtBy(row) && !fails:
			t.Errorf("%s is not caught by %s, which is %s: %s", m.Name, row, r.Verdict, r.Reason)
		case !m.CaughtBy(row) && fails:
			t.Errorf("%s is caught by the unrelated %s%s", m.Name, row, findings(r))
		}
	}
}

// meets decides whether mutant number i runs a row.
func meets(i int, m mutant.Mutation, row string) bool {
	if row == m.Row {
		return true
	}
	return !slices.Contains(slowRows(), row) && (full() || i%4 == 0 && number(row)%share == i%share)
}

// verdicts are the rows' results on one subject.
type verdicts map[string]suite.Result

// rowSet holds identifiers of rows.
type rowSet map[string]bool

// act is a mutant and the rows it meets.
type act struct {
	mutant.Mutation
	rows rowSet
}

// perform judges all acts in one run. The verdicts are in their order.
func perform(t *testing.T, acts []act) []verdicts {
	s := onStage(t)
	prepared := make([][]suite.Case, len(acts))
	var wg sync.WaitGroup
	slots := make(chan struct{}, workers)
	for i, a := range acts {
		slots <- struct{}{}
		wg.Go(func() {
			prepared[i] = prepare(t, s, a)
			<-slots
		})
	}
	wg.Wait()
	out := make([]verdicts, len(acts))
	actOf := map[*trial.Subject]int{}
	for i, cases := range prepared {
		out[i] = verdicts{}
		for _, c := range cases {
			actOf[c.Subject] = i
		}
	}
	cases := slices.Concat(prepared...)
	for _, r := range suite.Run(t.Context(), cases, workers, s.player, progress(cases)) {
		out[actOf[r.Subject]][r.Row.ID] = r
	}
	return out
}

// prepare installs a mutant among the reference plugins, and finds the cases
// of its rows.
func prepare(t *testing.T, s stage, a act) []suite.Case {
	dir := t.TempDir()
	if err := mutant.Install(dir, s.plugins, s.player, a.Mutation); err != nil {
		t.Error(err)
		return nil
	}
	target := suite.Target{Dirs: []string{dir}, Confs: []string{"testdata/mutants.conflist"}, Self: s.player, Kinds: map[string]trial.Kind{"bridge": trial.Interface}}
	subjects, err := suite.Discover(t.Context(), target)
	if err != nil {
		t.Errorf("%s: %v", a.Name, err)
		return nil
	}
	cases := suite.Select(rows.Catalogue(), subjects, trial.Netctl, nil, []string{a.Plugin})
	return slices.DeleteFunc(cases, func(c suite.Case) bool { return !a.rows[c.Row.ID] })
}
