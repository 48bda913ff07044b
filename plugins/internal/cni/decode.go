package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/netctl/netctl/ipam/quickjson"
)

// Decode decodes a plugin's own keys, with errors that name the key.
func (r *Request) Decode(into any) error {
	if err := Unmarshal(r.Stdin, into); err != nil {
		return Errorf(CodeDecode, "configuration on standard input: %w", err)
	}
	return nil
}

// Unmarshal is json.Unmarshal with errors for people: a wrong type names the
// key, what it wants, and the value that is there. Keys match whatever their
// case.
func Unmarshal(data []byte, into any) error {
	err := quickjson.Unmarshal(data, into)
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*json.SyntaxError)):
		return fmt.Errorf("invalid JSON: %w", err)
	}
	return plain(data, err) // or of a value that decodes itself
}

// plain says in JSON's words what is wrong with a document that the library could
// not decode.
func plain(data []byte, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	return &WrongTypeError{Key: wrong.Field, Want: jsonName(wrong.Type), Got: clip(culprit(data, wrong))}
}

// WrongTypeError is a value of a type that its key does not have.
type WrongTypeError struct {
	Key  string // with the objects around it, joined by dots; "" is the document
	Want string
	Got  string // as it was written, cut if long
}

func (e *WrongTypeError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("want %s, got %s", e.Want, e.Got)
	}
	return fmt.Sprintf("key %s: want %s, got %s", e.Key, e.Want, e.Got)
}

// Within gives a wrong type found in a value its place in the document: the
// decoder does not tell an object that decodes itself which key it is.
func Within(key string, err error) error {
	var wrong *WrongTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	inner := *wrong
	inner.Key = strings.TrimSuffix(key+"."+wrong.Key, ".")
	return &inner
}

// culprit gives the value that the decoder complained of, as it was written: the
// first one at its key that is of the type that it names. (Its offset does not
// help: in a value that decodes itself it counts from that value's start.)
func culprit(data []byte, wrong *json.UnmarshalTypeError) string {
	values := []json.RawMessage{data}
	if wrong.Field != "" {
		for name := range strings.SplitSeq(wrong.Field, ".") {
			values = under(values, name)
		}
	}
	kind, number, _ := strings.Cut(wrong.Value, " ")
	for _, v := range flat(values) {
		if text := compact(v); kindOf(v) == kind && (number == "" || number == text) {
			return text
		}
	}
	return wrong.Value
}

// under gives the values of a key in all objects, and in those in lists.
func under(values []json.RawMessage, name string) []json.RawMessage {
	var found []json.RawMessage
	for _, v := range flat(values) {
		var object map[string]json.RawMessage
		if json.Unmarshal(v, &object) != nil {
			continue
		}
		for key, child := range object {
			if strings.EqualFold(key, name) {
				found = append(found, child)
			}
		}
	}
	return found
}

// flat adds the elements of lists, and of lists in them.
func flat(values []json.RawMessage) []json.RawMessage {
	var all []json.RawMessage
	for _, v := range values {
		all = append(all, v)
		var list []json.RawMessage
		if json.Unmarshal(v, &list) == nil {
			all = append(all, flat(list)...)
		}
	}
	return all
}

// kindOf names a value's type as the decoder does.
func kindOf(value json.RawMessage) string {
	switch value = bytes.TrimSpace(value); {
	case len(value) == 0:
		return ""
	case value[0] == '{':
		return "object"
	case value[0] == '[':
		return "array"
	case value[0] == '"':
		return "string"
	case value[0] == 't' || value[0] == 'f':
		return "bool"
	}
	return "number"
}

func compact(data []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return string(data)
	}
	return b.String()
}

// clip keeps an error readable.
func clip(value string) string {
	const limit = 80
	if len(value) <= limit {
		return value
	}
	return strings.ToValidUTF8(value[:limit], "") + "..."
}

// jsonName says in JSON's words what a Go type is decoded from.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a number from 0 to %d", uint64(1)<<(t.Bits()-1)-1+uint64(1)<<(t.Bits()-1))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.String:
		return "a text in quotes"
	}
	return "a " + t.String()
}
