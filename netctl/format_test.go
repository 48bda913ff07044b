package netctl

import (
	"strings"
	"testing"
)

type exampleRow struct {
	ID    string `header:"EXAMPLE ID"`
	Name  string
	Ports string
	Size  int // not a string: no column

	labels map[string]string
}

func (r exampleRow) Label(name string) string { return r.labels[name] }

func TestShow(t *testing.T) {
	rows := []exampleRow{
		{ID: "3f4d7a2b9c1e", Name: "web", Ports: "0.0.0.0:8080->80/tcp", labels: map[string]string{"team": "a"}},
		{ID: "000000000001", Name: "a-name-that-is-rather-long", Ports: "<none>"},
	}
	columns := []string{"ID", "Name", "Ports"}
	for _, tt := range []struct {
		name string
		l    listing
		want string
	}{
		{"table", listing{}, "EXAMPLE ID     NAME                         PORTS\n" +
			"3f4d7a2b9c1e   web                          0.0.0.0:8080->80/tcp\n" +
			"000000000001   a-name-that-is-rather-long   <none>\n"},
		{"by its name", listing{Format: "table", NoHeading: true, Columns: columns[:1]}, "3f4d7a2b9c1e\n000000000001\n"},
		{"table with a template", listing{Format: `table {{.Name}}\t{{.ID}}`}, "NAME                         EXAMPLE ID\n" +
			"web                          3f4d7a2b9c1e\na-name-that-is-rather-long   000000000001\n"},
		{"template", listing{Format: `{{.Name}}={{.Label "team"}}`}, "web=a\na-name-that-is-rather-long=\n"},
		{"new lines and tabs", listing{Format: `{{.Name}}\t{{.Name}}\n`}, "web\tweb\n\na-name-that-is-rather-long\ta-name-that-is-rather-long\n\n"},
		{"json", listing{Format: "json"}, `{"ID":"3f4d7a2b9c1e","Name":"web","Ports":"0.0.0.0:8080->80/tcp","Size":0}` + "\n" +
			`{"ID":"000000000001","Name":"a-name-that-is-rather-long","Ports":"<none>","Size":0}` + "\n"},
		{"quiet", listing{Quiet: true}, "3f4d7a2b9c1e\n000000000001\n"},
		{"quiet and table", listing{Quiet: true, Format: "table"}, "3f4d7a2b9c1e\n000000000001\n"},
		{"quiet and a template", listing{Quiet: true, Format: "{{.Name}}"}, "web\na-name-that-is-rather-long\n"},
		{"unknown field", listing{Format: "{{.Nmae}}"}, "unknown field .Nmae in --format (known: .ID, .Name, .Ports, .Size)"},
		{"bad template", listing{Format: "{{.Name"}, "invalid --format: "},
		{"bad function", listing{Format: "{{index .Name 99}}"}, "--format: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.l.Columns == nil {
				tt.l.Columns = columns
			}
			var out strings.Builder
			err := show(&out, tt.l, rows)
			if err != nil && (!strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "netctl.")) || err == nil && out.String() != tt.want {
				t.Errorf("got %v\n%q\nwant\n%q", err, out.String(), tt.want)
			}
		})
	}
}

func TestShowNothing(t *testing.T) {
	var out strings.Builder
	if err := show[exampleRow](&out, listing{Columns: []string{"ID", "Name"}}, nil); err != nil || out.String() != "EXAMPLE ID   NAME\n" {
		t.Errorf("%v %q", err, out.String())
	}
	if err := show[exampleRow](&out, listing{Format: "{{.Nope}}"}, nil); err == nil {
		t.Error("an unknown field went unnoticed because there were no rows")
	}
}

func TestTemplateFunctions(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{`{{json .}}`, `{"Name":"a<b>&c","List":["x","y"]}`},
		{`{{join .List ","}}`, "x,y"},
		{`{{upper .Name}} {{lower "ABC"}} {{title "two words"}}`, "A<B>&C abc Two Words"},
		{`{{range split .Name "<"}}[{{.}}]{{end}}`, "[a][b>&c]"},
		{`{{truncate .Name 3}} {{truncate "äöü" 2}} {{truncate "ab" 5}}`, "a<b äö ab"},
		{`[{{pad .Name 1 2}}][{{pad "" 1 2}}]`, "[ a<b>&c  ][]"},
		{`{{index .List 1}} {{len .List}} {{println "x"}}`, "y 2 x\n"},
	} {
		parsed, err := parseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		data := struct {
			Name string
			List []string
		}{"a<b>&c", []string{"x", "y"}}
		if err := execute(&out, parsed, data); err != nil || out.String() != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.template, out.String(), err, tt.want)
		}
	}
}

// TestShowObjects: a field may be called by its Go name or by its JSON name.
func TestShowObjects(t *testing.T) {
	type object struct {
		ID    string `json:"Id"`
		Inner struct {
			Number int64 `json:"number"`
		} `json:"inner"`
		Hidden string `json:"-"`
	}
	o := object{ID: "x", Hidden: "h"}
	o.Inner.Number = 9007199254740993
	for _, tt := range []struct{ format, want string }{
		{"{{.ID}} {{.Hidden}}", "x h\n"},
		{"{{.Id}} {{.inner.number}}", "x 9007199254740993\n"},
		{"json", `[{"Id":"x","inner":{"number":9007199254740993}}]` + "\n"},
		{"", "[\n    {\n        \"Id\": \"x\",\n        \"inner\": {\n            \"number\": 9007199254740993\n        }\n    }\n]\n"},
		{"{{.Nope}}", "unknown field .Nope in --format (known: .ID, .Inner, .Hidden)"},
		{"{{.Inner.Nope}}", "unknown field .Nope in --format"},
	} {
		var out strings.Builder
		err := showObjects(&out, tt.format, []any{o})
		if err != nil && !strings.HasPrefix(err.Error(), tt.want) || err == nil && out.String() != tt.want {
			t.Errorf("%q: got %v %q, want %q", tt.format, err, out.String(), tt.want)
		}
	}
}
