package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it):\n%s", name, got)
	}
}

func catalogue() []trial.Row {
	return []trial.Row{
		{ID: "C001", Level: trial.Must, Profile: trial.Spec, Statement: "Exit status says <how> it went."},
		{ID: "C002", Level: trial.Should, Profile: trial.Netctl, Statement: "One | document."},
		{ID: "C003", Level: trial.Must, Profile: trial.Spec, Statement: "Nobody judged this."},
	}
}

// sample is a run with one result of each verdict.
func sample() *Run {
	rows := catalogue()
	bridge := &trial.Subject{Name: "bridge", Kind: trial.Interface, Plugin: "/bin/bridge", Versions: []string{"1.0.0"}}
	tuning := &trial.Subject{Name: "tuning", Kind: trial.Chained, Plugin: "/bin/tuning", Versions: []string{"1.0.0"}}
	step := trial.Step{
		Request: protocol.Request{Plugin: "/bin/bridge", Env: map[string]string{"CNI_COMMAND": "ADD"}, Stdin: []byte(`{"name":"n"}`)},
		Reply:   &protocol.Reply{Stdout: []byte(`{"code":7,"msg":"x"}`), Exit: 1, Took: 1500 * time.Microsecond},
	}
	results := []suite.Result{
		{Case: suite.Case{Row: &rows[0], Subject: bridge}, Outcome: trial.Outcome{Verdict: trial.Pass, Steps: []trial.Step{step}}},
		{Case: suite.Case{Row: &rows[0], Subject: tuning}, Outcome: trial.Outcome{Verdict: trial.Fail, Steps: []trial.Step{step}, Findings: []trial.Finding{{Want: "exit 0", Got: "exit 1,\nstdout x", Call: 1}, {Want: "a", Got: "b", Call: 1}}}},
		{Case: suite.Case{Row: &rows[1], Subject: bridge}, Outcome: trial.Outcome{Verdict: trial.NotApplicable, Reason: "nothing to delegate"}},
		{Case: suite.Case{Row: &rows[1], Subject: tuning}, Outcome: trial.Outcome{Verdict: trial.Blocked, Reason: "ADD failed"}},
	}
	return New(Run{Label: "sample", Command: "again", Profile: trial.Netctl}, 90*time.Second, []*trial.Subject{bridge, tuning}, results)
}

func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	run := sample()
	term := &Terminal{W: &b, Total: len(run.Results)}
	for range run.Results {
		term.Done(suite.Result{})
	}
	run.Results = append(run.Results, Result{Row: "C003", Subject: "tuning", Verdict: trial.Known, Reason: "as agreed"},
		Result{Row: "C003", Subject: "bridge", Verdict: trial.Blocked, Reason: trial.Interrupted})
	term.Failures(run)
	term.Known(run)
	term.Reasons(run)
	term.Summary(run)
	golden(t, "terminal.txt", b.Bytes())
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "junit.xml", b.Bytes())
}

func TestMatrix(t *testing.T) {
	better := sample()
	better.Label = "better"
	better.Results[1].Verdict, better.Results[1].Findings = trial.Known, nil
	m := NewMatrix(catalogue(), []*Run{sample(), better})
	var md, html bytes.Buffer
	if err := m.WriteMarkdown(&md); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	golden(t, "matrix.md", md.Bytes())
	golden(t, "matrix.html", html.Bytes())
}

func TestPublish(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	m := NewMatrix(catalogue(), []*Run{sample()})
	for range 2 { // a second time changes nothing
		if _, err := os.Stat(file); err != nil {
			os.WriteFile(file, []byte("head\n"+beginMark+"old\n"+endMark+"foot\n"), 0o600)
		}
		if err := m.Publish(file); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	m.WriteMarkdown(&table)
	if want := "head\n" + beginMark + "\n" + table.String() + "\n" + endMark + "foot\n"; string(page) != want {
		t.Errorf("the page is\n%s\nwant\n%s", page, want)
	}
	os.WriteFile(file, []byte("no markers\n"), 0o600)
	if err := m.Publish(file); err == nil {
		t.Error("a page without markers is written to")
	}
}

// TestJSONRoundTrip: what compare reads is what run wrote.
func TestJSONRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	var first, second bytes.Buffer
	if err := sample().WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, first.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	run, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.WriteJSON(&second); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("written %s, read back %s", first.String(), second.String())
	}
}
