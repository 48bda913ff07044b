// Package quickjson gives encoding/json's answers sooner to a process that asks
// once.
//
// encoding/json learns a type before it decodes or encodes the first value of
// it: it sorts the fields, looks for methods, compiles functions and keeps all
// that for the next value. A program that lives for milliseconds has no next
// value, and for the configuration, record and result of one attachment that
// preparation was a sixth of all it did. This package walks a value by reflection
// and prepares nothing but a list of the fields.
//
// It knows what plain documents and types are made of. Of whatever else there
// is (an escape in a text, null, a map that has other keys than texts, a wrong
// type, a key that comes twice) it has no opinion: it undoes what it has begun
// and calls encoding/json. So results and errors are encoding/json's always; the
// tests compare the two.
package quickjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
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

// learnt has the members of each struct that was met, for programs that live
// longer and meet it again: reflect.Type -> []field, nil for a struct that is
// left to encoding/json. It depends on the types of the program alone.
var learnt sync.Map

// fieldsOf lists the members of a struct in encoding/json's order. It is nil
// for structs without any, for those in which names hide one another, and for
// tags with rarer options.
func fieldsOf(t reflect.Type) []field {
	if known, ok := learnt.Load(t); ok {
		return known.([]field)
	}
	fields, ok := appendFields(make([]field, 0, t.NumField()), t, nil)
	if !ok || hide(fields) {
		fields = nil
	}
	learnt.Store(t, fields)
	return fields
}

// hide tells whether any two names are the same, whatever the case.
func hide(fields []field) bool {
	for i, f := range fields {
		for _, other := range fields[:i] {
			if len(f.name) == len(other.name) && strings.EqualFold(f.name, other.name) {
				return true
			}
		}
	}
	return false
}

func appendFields(to []field, t reflect.Type, outer []int) ([]field, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		index := f.Index
		if len(outer) > 0 {
			index = append(outer[:len(outer):len(outer)], i)
		}
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
