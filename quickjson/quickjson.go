// Package quickjson gives encoding/json's answers sooner to a process that asks
// once.
//
// encoding/json learns a type before it decodes or encodes the first value of
// it: it sorts the fields, looks for methods, compiles functions and keeps all
// that for the next value. A program that lives for milliseconds has no next
// value, and for the configuration, record and result of one attachment that
// preparation was a sixth of all it did. This package walks a value by reflection
// and prepares nothing.
//
// It knows what plain documents and types are made of. Of whatever else there
// is (an escape in a text, null, a map, a wrong type, a key that comes twice) it
// has no opinion: it undoes what it has begun and calls encoding/json. So
// results and errors are encoding/json's always; the tests compare the two.
package quickjson

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Unmarshal is json.Unmarshal.
func Unmarshal(data []byte, into any) error {
	if p := reflect.ValueOf(into); p.Kind() == reflect.Pointer && !p.IsNil() {
		target := p.Elem()
		before := reflect.New(target.Type()).Elem()
		before.Set(target)
		d := decoder{scanner: scanner{data: data}}
		if d.document(target) {
			return nil
		}
		target.Set(before)
	}
	return json.Unmarshal(data, into)
}

// Marshal is json.Marshal.
func Marshal(value any) ([]byte, error) {
	var e encoder
	if e.value(reflect.ValueOf(value)) {
		return e.out, nil
	}
	return json.Marshal(value)
}

// field is a member of an object: a field of a struct, or of one embedded in it.
type field struct {
	name      string
	index     []int
	omitEmpty bool
	omitZero  bool
}

// plans are the structs met in one document.
type plans []plan

type plan struct {
	of     reflect.Type
	fields []field
}

// fields lists the members of a struct in encoding/json's order. It is false for
// structs in which names hide one another, and for tags with rarer options.
func (p *plans) fields(t reflect.Type) ([]field, bool) {
	for _, known := range *p {
		if known.of == t {
			return known.fields, true
		}
	}
	fields, ok := appendFields(nil, t, nil)
	if !ok {
		return nil, false
	}
	for i, f := range fields {
		for _, other := range fields[:i] {
			if strings.EqualFold(f.name, other.name) {
				return nil, false
			}
		}
	}
	*p = append(*p, plan{t, fields})
	return fields, true
}

func appendFields(to []field, t reflect.Type, outer []int) ([]field, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		index := append(outer[:len(outer):len(outer)], i)
		if f.Anonymous {
			if name != "" || f.Type.Kind() != reflect.Struct {
				return nil, false
			}
			var ok bool
			if to, ok = appendFields(to, f.Type, index); !ok {
				return nil, false
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if !isPlainName(name) || options != "" && options != "omitempty" && options != "omitzero" {
			return nil, false
		}
		to = append(to, field{name, index, options == "omitempty", options == "omitzero"})
	}
	return to, true
}

// isPlainName tells whether a name is a valid one in a tag and needs no escape.
func isPlainName(name string) bool {
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("._-/", rune(c)) {
			return false
		}
	}
	return name != ""
}

var jsonNumber = reflect.TypeFor[json.Number]()

// mayHaveMethods tells whether a type can have an opinion of its own on how it is
// written.
func mayHaveMethods(t reflect.Type) bool { return t.PkgPath() != "" }
