package quickjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// encoder writes a value. Its methods say false when they don't know how.
type encoder struct {
	out   []byte
	depth int
}

func (e *encoder) value(v reflect.Value) bool {
	if e.depth++; e.depth > deepest || !v.IsValid() { // it may be in itself
		return false
	}
	defer func() { e.depth-- }()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			e.word("null")
			return true
		}
		return e.value(v.Elem())
	}
	if mayHaveMethods(v.Type()) {
		switch m := methods(v).(type) {
		case json.Marshaler:
			data, err := m.MarshalJSON()
			return err == nil && e.compact(data)
		case encoding.TextMarshaler:
			text, err := m.MarshalText()
			return err == nil && e.text(string(text))
		}
	}
	switch v.Kind() {
	case reflect.String:
		return v.Type() != jsonNumber && e.text(v.String())
	case reflect.Bool:
		e.out = strconv.AppendBool(e.out, v.Bool())
		return true
	case reflect.Slice:
		return e.list(v)
	case reflect.Struct:
		return e.object(v)
	case reflect.Interface:
		return !v.IsNil() && e.value(v.Elem())
	case reflect.Map:
		return e.table(v)
	}
	switch {
	case v.CanInt():
		e.out = strconv.AppendInt(e.out, v.Int(), 10)
		return true
	case v.CanUint():
		e.out = strconv.AppendUint(e.out, v.Uint(), 10)
		return true
	}
	return false
}

// methods gives the value with all methods that it has where it is.
func methods(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return v.Interface()
}

func (e *encoder) word(word string) { e.out = append(e.out, word...) }

// comma parts a member from the one before it.
func (e *encoder) comma() {
	if last := e.out[len(e.out)-1]; last != '[' && last != '{' {
		e.out = append(e.out, ',')
	}
}

func (e *encoder) list(v reflect.Value) bool {
	if v.Type().Elem().Kind() == reflect.Uint8 { // bytes are written as a text
		return false
	}
	if v.IsNil() {
		e.word("null")
		return true
	}
	e.out = append(e.out, '[')
	for i := range v.Len() {
		e.comma()
		if !e.value(v.Index(i)) {
			return false
		}
	}
	e.out = append(e.out, ']')
	return true
}

func (e *encoder) object(v reflect.Value) bool {
	fields := fieldsOf(v.Type())
	if len(fields) == 0 {
		return false
	}
	e.out = append(e.out, '{')
	for _, f := range fields {
		member := v.FieldByIndex(f.index)
		if f.omitEmpty && isEmpty(member) || f.omitZero && isZero(member) {
			continue
		}
		e.comma()
		e.out = append(e.out, '"')
		e.word(f.name)
		e.word(`":`)
		if !e.value(member) {
			return false
		}
	}
	e.out = append(e.out, '}')
	return true
}

// table writes a map whose keys are texts, in their order.
func (e *encoder) table(v reflect.Value) bool {
	if v.Type().Key() != reflect.TypeFor[string]() || v.IsNil() {
		return false
	}
	keys := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	e.out = append(e.out, '{')
	for _, key := range keys {
		e.comma()
		if !e.text(key) {
			return false
		}
		e.out = append(e.out, ':')
		if !e.value(v.MapIndex(reflect.ValueOf(key))) {
			return false
		}
	}
	e.out = append(e.out, '}')
	return true
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func isZero(v reflect.Value) bool {
	if mayHaveMethods(v.Type()) {
		here := reflect.New(v.Type())
		here.Elem().Set(v)
		if z, ok := here.Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// text writes a string; one that needs escapes in encoding/json's way.
func (e *encoder) text(text string) bool {
	for _, c := range []byte(text) {
		if !isPlain(c) {
			escaped, err := json.Marshal(text)
			e.out = append(e.out, escaped...)
			return err == nil
		}
	}
	e.out = append(e.out, '"')
	e.word(text)
	e.out = append(e.out, '"')
	return true
}

// isPlain tells whether encoding/json writes a byte of a text as it is.
func isPlain(c byte) bool {
	return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

// compact writes a document that is there already, without white space.
func (e *encoder) compact(data []byte) bool {
	s := scanner{data: data}
	if !s.skip(0) || !s.end() {
		return false
	}
	inText := false
	for i, c := range data {
		switch {
		case c > '~' || c == '<' || c == '>' || c == '&': // escaped also here
			return false
		case c == '"' && (!inText || !isEscaped(data[:i])):
			inText = !inText
		case !inText && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		e.out = append(e.out, c)
	}
	return true
}

// isEscaped tells whether what follows is the second half of an escape.
func isEscaped(before []byte) bool {
	n := len(before)
	for n > 0 && before[n-1] == '\\' {
		n--
	}
	return (len(before)-n)%2 == 1
}
