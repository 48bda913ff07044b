package report

import (
	"fmt"
	"html/template"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/trial"
)

// Matrix sets several runs side by side, a row of the checklist per line.
type Matrix struct {
	Labels []string
	Lines  []Line
}

// Line is one row of the checklist over all runs.
type Line struct {
	ID        string
	Level     trial.Level
	Profile   trial.Profile
	Statement string
	Cells     []Cell
}

// Cell is how a row came out in one run: the worst verdict over its subjects,
// and the subjects that have it.
type Cell struct {
	Verdict  trial.Verdict // "" when the run did not judge the row
	Subjects []string
	Note     string // the first finding or reason
}

// NewMatrix lines runs up. Rows that no run judged are left out.
func NewMatrix(catalogue []trial.Row, runs []*Run) *Matrix {
	m := &Matrix{}
	for i, run := range runs {
		label := run.Label
		if label == "" {
			label = fmt.Sprintf("run %d", i+1)
		}
		m.Labels = append(m.Labels, label)
	}
	for _, row := range catalogue {
		line := Line{ID: row.ID, Level: row.Level, Profile: row.Profile, Statement: row.Statement}
		judged := false
		for _, run := range runs {
			cell := run.cell(row.ID)
			judged = judged || cell.Verdict != ""
			line.Cells = append(line.Cells, cell)
		}
		if judged {
			m.Lines = append(m.Lines, line)
		}
	}
	return m
}

// severity orders verdicts, worst first.
func severity(v trial.Verdict) int {
	order := []trial.Verdict{trial.Fail, trial.Blocked, trial.Known, trial.Pass, trial.NotApplicable}
	if i := slices.Index(order, v); i >= 0 {
		return i
	}
	return len(order)
}

func (run *Run) cell(row string) Cell {
	var c Cell
	for _, r := range run.Results {
		switch {
		case r.Row != row:
		case severity(r.Verdict) < severity(c.Verdict):
			c = Cell{r.Verdict, []string{r.Subject}, r.note()}
		case r.Verdict == c.Verdict:
			c.Subjects = append(c.Subjects, r.Subject)
		}
	}
	return c
}

func (r Result) note() string {
	if len(r.Findings) > 0 {
		return "wanted: " + r.Findings[0].Want + "; got: " + r.Findings[0].Got
	}
	return r.Reason
}

// Text is the cell in a table: who fails, or just the verdict.
func (c Cell) Text() string {
	switch c.Verdict {
	case "":
		return "–"
	case trial.Pass, trial.NotApplicable:
		return string(c.Verdict)
	}
	return strings.ToUpper(string(c.Verdict)) + " " + strings.Join(c.Subjects, ", ")
}

// Totals counts the rows of one column by verdict.
func (m *Matrix) Totals(column int) map[trial.Verdict]int {
	out := map[trial.Verdict]int{}
	for _, line := range m.Lines {
		out[line.Cells[column].Verdict]++
	}
	return out
}

// WriteMarkdown writes the matrix as a table.
func (m *Matrix) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "| row | level | profile | statement | %s |\n", strings.Join(m.Labels, " | "))
	b.WriteString("|---|---|---|---|" + strings.Repeat("---|", len(m.Labels)) + "\n")
	for _, line := range m.Lines {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |", line.ID, line.Level, line.Profile, escapePipes(line.Statement))
		for _, cell := range line.Cells {
			fmt.Fprintf(&b, " %s |", escapePipes(cell.Text()))
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n| | pass | fail | blocked | n/a | known |\n|---|---|---|---|---|---|\n")
	for i, label := range m.Labels {
		t := m.Totals(i)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", label, t[trial.Pass], t[trial.Fail], t[trial.Blocked], t[trial.NotApplicable], t[trial.Known])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The markers Publish writes between.
const (
	beginMark = "<!-- conformance:begin -->\n"
	endMark   = "<!-- conformance:end -->\n"
)

// Publish replaces the table in a Markdown file, so that a page with other
// text on it stays true.
func (m *Matrix) Publish(file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("publish table: %w", err)
	}
	before, rest, opened := strings.Cut(string(page), beginMark)
	_, after, closed := strings.Cut(rest, endMark)
	if !opened || !closed {
		return fmt.Errorf("publish table: %s has no lines %q and %q", file, strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	var table strings.Builder
	if err := m.WriteMarkdown(&table); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(before+beginMark+"\n"+table.String()+"\n"+endMark+after), 0o644)
}

func escapePipes(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// WriteHTML writes the matrix as a page; a cell's tooltip has the first finding.
func (m *Matrix) WriteHTML(w io.Writer) error { return page.Execute(w, m) }

var page = template.Must(template.New("matrix").Funcs(template.FuncMap{
	"class": func(v trial.Verdict) string { return strings.ReplaceAll(string(v), "/", "") },
	"verdicts": func() []trial.Verdict {
		return []trial.Verdict{trial.Pass, trial.Fail, trial.Blocked, trial.NotApplicable, trial.Known}
	},
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>CNI conformance</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse } th, td { border: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: top }
th { position: sticky; top: 0; background: #f6f6f6 }
.pass { background: #e6f4e6 } .fail { background: #fbe3e3 } .blocked { background: #fdf2d8 } .known { background: #e8e8f8 } .na { color: #888 }
</style>
<h1>CNI conformance</h1>
<p>A cell is the worst verdict over all plugins the row concerns, with the plugins that have it. Point at it for what was found first.</p>
<table><tr><th>{{range verdicts}}<th>{{.}}{{end}}</tr>
{{range $i, $label := .Labels}}<tr><td>{{$label}}{{$t := $.Totals $i}}{{range verdicts}}<td>{{index $t .}}{{end}}</tr>
{{end}}</table>
<p></p>
<table><tr><th>row<th>level<th>profile<th>statement{{range .Labels}}<th>{{.}}{{end}}</tr>
{{range .Lines}}<tr><td>{{.ID}}<td>{{.Level}}<td>{{.Profile}}<td>{{.Statement}}{{range .Cells}}<td class="{{class .Verdict}}" title="{{.Note}}">{{.Text}}{{end}}</tr>
{{end}}</table>
</html>
`))
