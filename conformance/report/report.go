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
	Suite    string        `json:"suite"`   // version of the program
	Label    string        `json:"label"`   // what was judged, in the words of whoever ran it
	Command  string        `json:"command"` // repeats the run, without filter and subject
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
	Row       string          `json:"row"`
	Level     trial.Level     `json:"level"`
	Profile   trial.Profile   `json:"profile"`
	Section   string          `json:"section"` // where the statement comes from
	Statement string          `json:"statement"`
	Subject   string          `json:"subject"`
	Verdict   trial.Verdict   `json:"verdict"`
	Reason    string          `json:"reason,omitempty"`
	Findings  []trial.Finding `json:"findings,omitempty"`
	Calls     []Call          `json:"calls,omitempty"`
	Again     string          `json:"again"`           // judges the row again with the suite
	Shell     string          `json:"shell,omitempty"` // does what the row did without the suite
	Partial   string          `json:"shellLeavesOut,omitempty"`
	Seconds   float64         `json:"seconds"`
}

// New makes the document of a run that has its label, command and profile.
func New(run Run, took time.Duration, subjects []*trial.Subject, results []suite.Result) *Run {
	run.Format, run.Seconds = Format, took.Seconds()
	for _, s := range subjects {
		run.Subjects = append(run.Subjects, Subject{s.Name, s.Kind.String(), s.Plugin, s.Versions})
	}
	for _, r := range results {
		run.Results = append(run.Results, Result{
			Row: r.Row.ID, Level: r.Row.Level, Profile: r.Row.Profile, Section: r.Row.Section, Statement: r.Row.Statement, Subject: r.Subject.Name,
			Verdict: r.Verdict, Reason: r.Reason, Findings: r.Findings, Calls: calls(r.Steps),
			Again: run.Again(r.Row.ID, r.Subject.Name), Shell: r.Shell, Partial: r.Partial, Seconds: r.Took.Seconds(),
		})
	}
	return &run
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
