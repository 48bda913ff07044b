package netctl

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
)

// A listing says how the rows of a command such as ls or ps are shown.
//
// A row is a struct whose exported string fields are what --format knows; the
// tag `header` holds a field's column head (default: its name in capitals).
type listing struct {
	// Columns are the fields of the default table, in order.
	Columns []string
	// Format is --format: "", "table", "table TEMPLATE", "json" or a template.
	Format string
	// Quiet shows the field ID alone, one a line, unless Format is given.
	Quiet     bool
	NoHeading bool
}

// show prints the rows of type T.
func show[T any](w io.Writer, l listing, rows []T) error {
	switch {
	case l.Format == "json":
		return showTemplate(w, "{{json .}}", rows)
	case l.Format != "" && l.Format != "table" && !strings.HasPrefix(l.Format, "table "):
		return showTemplate(w, l.Format, rows)
	case l.Quiet:
		return showTemplate(w, "{{.ID}}", rows)
	}
	body := strings.TrimSpace(strings.TrimPrefix(l.Format, "table"))
	if body == "" {
		body = "{{." + strings.Join(l.Columns, "}}\t{{.") + "}}"
	}
	cells := make([]T, len(rows))
	for i, row := range rows {
		cells[i] = visibleCells(row)
	}
	rows = cells
	// The figures are docker's, so that columns stand where people expect them.
	table := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	if !l.NoHeading {
		rows = append([]T{headings[T]()}, rows...)
	}
	if err := showTemplate(table, body, rows); err != nil {
		return err
	}
	return table.Flush()
}

// showTemplate prints a line for each row.
func showTemplate[T any](w io.Writer, text string, rows []T) error {
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	if len(rows) == 0 { // a wrong field is an error even with nothing to show
		var none T
		return execute(io.Discard, t, none)
	}
	for _, row := range rows {
		if err := execute(w, t, row); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// visibleCells is a row of what may be shown in a table on a terminal.
func visibleCells[T any](row T) T {
	v := reflect.ValueOf(&row).Elem()
	for i := range v.NumField() {
		if field := v.Field(i); field.CanSet() && field.Kind() == reflect.String {
			field.SetString(visibleLine(field.String()))
		}
	}
	return row
}

// headings is a row that holds the column heads in place of values.
func headings[T any]() T {
	var row T
	v := reflect.ValueOf(&row).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || field.Type.Kind() != reflect.String {
			continue
		}
		head := field.Tag.Get("header")
		if head == "" {
			head = strings.ToUpper(field.Name)
		}
		v.Field(i).SetString(head)
	}
	return row
}

// shortID is the form of an ID in tables.
func shortID(id string, full bool) string {
	if full {
		return id
	}
	return id[:min(12, len(id))]
}

// listingFlags are the flags of every command that shows a table.
func listingFlags(flags *pflag.FlagSet, l *listing) {
	flags.BoolVarP(&l.Quiet, "quiet", "q", false, "show IDs only")
	flags.BoolVarP(&l.NoHeading, "noheading", "n", false, "leave the column heads out")
	flags.StringVar(&l.Format, "format", "", "'table', 'table TEMPLATE', 'json' (an object a line) or a Go template")
}
