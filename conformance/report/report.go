// Package report turns results into what people and machines read: a terminal
// summary, JSON, JUnit, and a matrix over several runs.
//
// The JSON document is the record; everything else can be made from it later.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// Format is the version of the JSON document.
const Format = 1

// Run is one run of the suite.
type Run struct {
	Format   int           `json:"format"`
	Label    string        `json:"label"` // what was judged, in the words of whoever ran it
	Profile  trial.Profile `json:"profile"`
	Seconds  float64       `json:"seconds"`
	Subjects []Subject     `json:"subjects"`
	Results  []Result      `json:"results"`
}

// Subject is a plugin that was judged.
type Subject struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Plugin   string   `json:"plugin"`
	Versions []string `json:"versions"`
}

// Result is one row on one subject.
type Result struct {
	Row      string          `json:"row"`
	Level    trial.Level     `json:"level"`
	Profile  trial.Profile   `json:"profile"`
	Subject  string          `json:"subject"`
	Verdict  trial.Verdict   `json:"verdict"`
	Reason   string          `json:"reason,omitempty"`
	Findings []trial.Finding `json:"findings,omitempty"`
	Calls    []Call          `json:"calls,omitempty"`
	Again    string          `json:"again"`           // judges the row again with the suite
	Shell    string          `json:"shell,omitempty"` // does what the row did without the suite
	Partial  string          `json:"shellLeavesOut,omitempty"`
	Seconds  float64         `json:"seconds"`
}

// Call is one execution of a plugin.
type Call struct {
	Env     []string `json:"env"`
	Stdin   string   `json:"stdin"`
	Exit    int      `json:"exit"`
	Signal  string   `json:"signal,omitempty"`
	Stdout  string   `json:"stdout,omitempty"`
	Stderr  string   `json:"stderr,omitempty"`
	Seconds float64  `json:"seconds"`
}

// New makes the document. again writes the command line that repeats a case.
func New(label string, profile trial.Profile, took time.Duration, subjects []*trial.Subject, results []suite.Result, again func(suite.Case) string) *Run {
	run := &Run{Format: Format, Label: label, Profile: profile, Seconds: took.Seconds()}
	for _, s := range subjects {
		run.Subjects = append(run.Subjects, Subject{s.Name, s.Kind.String(), s.Plugin, s.Versions})
	}
	for _, r := range results {
		run.Results = append(run.Results, Result{
			Row: r.Row.ID, Level: r.Row.Level, Profile: r.Row.Profile, Subject: r.Subject.Name,
			Verdict: r.Verdict, Reason: r.Reason, Findings: r.Findings, Calls: calls(r.Steps),
			Again: again(r.Case), Shell: r.Shell, Partial: r.Partial, Seconds: r.Took.Seconds(),
		})
	}
	return run
}

func calls(steps []trial.Step) []Call {
	var out []Call
	for _, s := range steps {
		out = append(out, Call{
			Env: s.Request.Environ(), Stdin: string(s.Request.Stdin), Exit: s.Reply.Exit, Signal: s.Reply.Signal,
			Stdout: string(s.Reply.Stdout), Stderr: string(s.Reply.Stderr), Seconds: s.Reply.Took.Seconds(),
		})
	}
	return out
}

// Read loads a document written earlier.
func Read(file string) (*Run, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	run := &Run{}
	if err := json.Unmarshal(b, run); err != nil {
		return nil, fmt.Errorf("read report %s: %w", file, err)
	}
	if run.Format != Format {
		return nil, fmt.Errorf("read report %s: format %d is not %d", file, run.Format, Format)
	}
	return run, nil
}

// WriteJSON writes the document.
func (run *Run) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(run)
}
