package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/netctl/netctl/conformance/trial"
)

// The JUnit form that CI systems read: a suite per subject, a case per row.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string     `xml:"classname,attr"`
		Name    string     `xml:"name,attr"`
		Seconds string     `xml:"time,attr"`
		Failure *junitText `xml:"failure"`
		Error   *junitText `xml:"error"`
		Skipped *junitText `xml:"skipped"`
	}
	junitText struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the run for CI. A blocked row is an error there; a row that
// does not apply and a known deviation are skipped with their reason.
func (run *Run) WriteJUnit(w io.Writer) error {
	doc := junitSuites{}
	for _, s := range run.Subjects {
		doc.Suites = append(doc.Suites, run.junitSuite(s.Name))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", " ")
	return enc.Encode(doc)
}

func (run *Run) junitSuite(subject string) junitSuite {
	s := junitSuite{Name: subject}
	for _, r := range run.Results {
		if r.Subject != subject {
			continue
		}
		c := junitCase{Class: subject, Name: r.Row + " " + r.Statement, Seconds: fmt.Sprintf("%.3f", r.Seconds)}
		s.Tests++
		switch r.Verdict {
		case trial.Fail:
			s.Failures++
			c.Failure = &junitText{r.Findings[0].Want, r.findingText()}
		case trial.Blocked:
			s.Errors++
			c.Error = &junitText{r.Reason, "again:  " + r.Again + "\n"}
		case trial.NotApplicable, trial.Known:
			s.Skipped++
			c.Skipped = &junitText{Message: r.Reason}
		}
		s.Cases = append(s.Cases, c)
	}
	return s
}

// findingText is what was wanted and what came, with the call before it, and
// how to see it again.
func (r Result) findingText() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "wanted: %s\ngot:    %s\n", f.Want, f.Got)
		if f.Call > 0 && f.Call <= len(r.Calls) {
			fmt.Fprintf(&b, "sent:   %s\n", r.Calls[f.Call-1].Sent())
		}
	}
	fmt.Fprintf(&b, "again:  %s\n", r.Again)
	if r.Shell != "" && r.Partial == "" {
		fmt.Fprintf(&b, "shell:  %s\n", r.Shell)
	}
	return b.String()
}
