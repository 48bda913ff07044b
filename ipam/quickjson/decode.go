package quickjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// decoder reads a document into a value. Its methods say false when they don't
// know what to do; what was set until then is forgotten.
type decoder struct {
	scanner
	depth int
}

func (d *decoder) document(v reflect.Value) bool { return d.value(v) && d.end() }

func (d *decoder) value(v reflect.Value) bool {
	if d.depth++; d.depth > deepest {
		return false
	}
	defer func() { d.depth-- }()
	if mayHaveMethods(v.Type()) {
		switch u := v.Addr().Interface().(type) {
		case json.Unmarshaler:
			return d.unmarshal(u)
		case encoding.TextUnmarshaler:
			text, ok := d.text()
			return ok && u.UnmarshalText(text) == nil
		}
	}
	switch v.Kind() {
	case reflect.String:
		text, ok := d.text()
		if !ok || v.Type() == jsonNumber {
			return false
		}
		v.SetString(string(text))
		return true
	case reflect.Bool:
		yes := d.word("true")
		v.SetBool(yes)
		return yes || d.word("false")
	case reflect.Slice:
		return d.list(v)
	case reflect.Struct:
		return d.object(v)
	case reflect.Map:
		return d.table(v)
	case reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		if !v.IsNil() || !d.value(to.Elem()) {
			return false
		}
		v.Set(to)
		return true
	}
	return d.number(v)
}

// number reads a whole number.
func (d *decoder) number(v reflect.Value) bool {
	switch {
	case v.CanInt():
		n, ok := d.integer()
		if !ok || v.OverflowInt(n) {
			return false
		}
		v.SetInt(n)
	case v.CanUint():
		n, ok := d.integer()
		if !ok || n < 0 || v.OverflowUint(uint64(n)) {
			return false
		}
		v.SetUint(uint64(n))
	default:
		return false
	}
	return true
}

// unmarshal has a value decode itself.
func (d *decoder) unmarshal(u json.Unmarshaler) bool {
	if d.peek() == 'n' {
		return false
	}
	start := d.at
	return d.skip(d.depth) && u.UnmarshalJSON(d.data[start:d.at:d.at]) == nil
}

func (d *decoder) list(v reflect.Value) bool {
	if v.Type().Elem().Kind() == reflect.Uint8 { // bytes are written as a text
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return d.members('[', ']', func() bool {
		v.Grow(1)
		n := v.Len()
		v.SetLen(n + 1)
		return d.value(v.Index(n))
	})
}

func (d *decoder) object(v reflect.Value) bool {
	fields := fieldsOf(v.Type())
	if len(fields) == 0 || len(fields) > 64 {
		return false
	}
	var seen uint64
	return d.members('{', '}', func() bool {
		key, ok := d.text()
		if !ok || !d.next(':') {
			return false
		}
		for i, f := range fields {
			if !equalFold(f.name, key) {
				continue
			}
			twice := seen&(1<<i) != 0
			seen |= 1 << i
			return !twice && d.value(v.FieldByIndex(f.index))
		}
		return d.skip(d.depth)
	})
}

// table reads an object into a new map whose keys are texts.
func (d *decoder) table(v reflect.Value) bool {
	if v.Type().Key() != reflect.TypeFor[string]() || !v.IsNil() {
		return false
	}
	to := reflect.MakeMap(v.Type())
	v.Set(to)
	return d.members('{', '}', func() bool {
		name, ok := d.text()
		if !ok || !d.next(':') {
			return false
		}
		key, member := reflect.ValueOf(string(name)), reflect.New(v.Type().Elem()).Elem()
		if to.MapIndex(key).IsValid() || !d.value(member) {
			return false
		}
		to.SetMapIndex(key, member)
		return true
	})
}

// equalFold compares ASCII whatever the case, which keys may have.
func equalFold(name string, key []byte) bool {
	return len(name) == len(key) && strings.EqualFold(name, string(key))
}
