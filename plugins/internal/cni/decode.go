package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
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
	err := json.Unmarshal(data, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return &WrongTypeError{Key: wrong.Field, Want: jsonName(wrong.Type), Got: clip(tokenAt(data, wrong.Offset))}
	case errors.As(err, new(*json.SyntaxError)):
		return fmt.Errorf("invalid JSON: %w", err)
	}
	return err // of a value that decodes itself
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

// tokenAt gives the value at which the decoder stopped: it reports an offset
// within a value or at its end, and at the opening bracket of a list or object.
func tokenAt(data []byte, offset int64) string {
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		before := decoder.InputOffset()
		token, err := decoder.Token()
		if err != nil {
			return "something else"
		}
		if decoder.InputOffset() < offset {
			continue
		}
		start := int(before) + len(data[before:]) - len(bytes.TrimLeft(data[before:], " \t\r\n,:"))
		if _, opening := token.(json.Delim); !opening {
			return string(data[start:decoder.InputOffset()])
		}
		var whole json.RawMessage
		if json.NewDecoder(bytes.NewReader(data[start:])).Decode(&whole) != nil {
			return "something else"
		}
		return compact(whole)
	}
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
