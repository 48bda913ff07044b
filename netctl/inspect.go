package netctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"
)

// showObjects prints what inspect found: an array as docker indents it, the
// same on one line ("json"), or a template's output for each object.
func showObjects(w io.Writer, format string, objects []any) error {
	if objects == nil {
		objects = []any{}
	}
	switch format {
	case "":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "    ")
		return enc.Encode(objects)
	case "json":
		return showTemplate(w, "{{json .}}", []any{objects})
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := executeObject(w, t, object); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// executeObject looks fields up by their names in the template's struct, and,
// if one is missing there, all of them by their names in the JSON.
func executeObject(w io.Writer, t *template.Template, object any) error {
	err := execute(w, t, object)
	if err == nil {
		return nil
	}
	text, jsonErr := compactJSON(object)
	if jsonErr != nil {
		return errors.Join(err, jsonErr)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber() // large numbers stay as they are
	var plain any
	if decoder.Decode(&plain) != nil || execute(w, t.Option("missingkey=error"), plain) != nil {
		return err
	}
	return nil
}
