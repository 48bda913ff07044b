package netctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"
)

// templateFuncs are docker's functions for --format.
func templateFuncs() template.FuncMap {
	return template.FuncMap{
		"json":     compactJSON,
		"join":     strings.Join,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"title":    title,
		"split":    strings.Split,
		"truncate": truncate,
		"pad":      pad,
	}
}

// parseTemplate reads a template as it is typed in a shell: `\t` and `\n`
// stand for the characters.
func parseTemplate(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Funcs(templateFuncs()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("invalid --format: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	return t, nil
}

// execute applies the template to one value; data is what the fields are
// looked up in.
func execute(w io.Writer, t *template.Template, data any) error {
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return templateError(err, data)
	}
	_, err := out.WriteTo(w)
	return err
}

var missingField = regexp.MustCompile(`(?:can't evaluate field|map has no entry for key) "?(\w+)"?(?: in type \*?(\S+))?`)

// templateError says what is wrong in the user's terms: text/template's own
// messages speak of Go types.
func templateError(err error, data any) error {
	if m := missingField.FindStringSubmatch(err.Error()); m != nil {
		if known := fieldNames(structNamed(reflect.TypeOf(data), m[2])); len(known) > 0 {
			return fmt.Errorf("unknown field .%s in --format (known: %s)", m[1], strings.Join(known, ", "))
		}
		return fmt.Errorf("unknown field .%s in --format", m[1])
	}
	var exec template.ExecError
	if errors.As(err, &exec) {
		if inner := errors.Unwrap(exec.Err); inner != nil {
			err = inner
		}
	}
	return fmt.Errorf("--format: %w", err)
}

// structNamed finds a type by the name that text/template has for it, in t or in
// what t is made of: the field that is missing may be one far inside. Our types
// do not contain themselves.
func structNamed(t reflect.Type, name string) reflect.Type {
	if t == nil || name == "" || t.String() == name {
		return t
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return structNamed(t.Elem(), name)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Type != reflect.TypeFor[time.Time]() {
				if found := structNamed(f.Type, name); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

func fieldNames(t reflect.Type) []string {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			names = append(names, "."+f.Name)
		}
	}
	return names
}

// compactJSON leaves '<', '>' and '&' as they are: the output is for programs
// and terminals, not for web pages.
func compactJSON(v any) (string, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(out.String(), "\n"), err
}

func title(s string) string {
	previous := ' '
	return strings.Map(func(r rune) rune {
		first := unicode.IsSpace(previous)
		previous = r
		if first {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

// truncate shortens s to n characters.
func truncate(s string, n int) string {
	if n < 0 || utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}

// pad puts spaces before and after s, unless it is empty.
func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}
