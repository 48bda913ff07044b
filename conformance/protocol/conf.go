package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Conf is the configuration half of a request: the JSON object a plugin reads
// from standard input. With and Without return changed copies, so a row can
// say "the same, but".
//
// A path such as "ipam.ranges" walks objects by key. Keys that contain a dot
// themselves (cni.dev/valid-attachments) are used with SetKey.
type Conf map[string]any

// ParseConf decodes an object, keeping numbers as they were written.
func ParseConf(b []byte) (Conf, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var c Conf
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	return c, nil
}

// JSON encodes the configuration. Keys come out sorted.
func (c Conf) JSON() []byte { return mustJSON(c) }

// Clone copies the configuration to the bottom.
func (c Conf) Clone() Conf {
	out, err := ParseConf(mustJSON(c))
	if err != nil {
		panic(fmt.Sprintf("clone configuration: %v", err))
	}
	if out == nil {
		out = Conf{}
	}
	return out
}

// With returns a copy in which the value at path is v, making the objects on
// the way.
func (c Conf) With(path string, v any) Conf {
	out := c.Clone()
	keys := strings.Split(path, ".")
	at := map[string]any(out)
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	at[keys[len(keys)-1]] = v
	return out
}

// WithKey is With for one top-level key that may contain dots.
func (c Conf) WithKey(key string, v any) Conf {
	out := c.Clone()
	out[key] = v
	return out
}

// Without returns a copy in which the paths are absent.
func (c Conf) Without(paths ...string) Conf {
	out := c.Clone()
	for _, path := range paths {
		parent, key := out.parent(path)
		delete(parent, key)
	}
	return out
}

// Get returns the value at path, or nil.
func (c Conf) Get(path string) any {
	parent, key := c.parent(path)
	return parent[key]
}

// String returns the text at path, or "".
func (c Conf) String(path string) string {
	s, _ := c.Get(path).(string)
	return s
}

// Bool returns the boolean at path, or false.
func (c Conf) Bool(path string) bool {
	b, _ := c.Get(path).(bool)
	return b
}

// Keys lists the keys of the object at path ("" is the top), sorted.
func (c Conf) Keys(path string) []string {
	obj := map[string]any(c)
	if path != "" {
		obj, _ = c.Get(path).(map[string]any)
	}
	keys := make([]string, 0, len(obj))
	for key := range obj {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// parent finds the object that holds the last key of path; nil when there is
// none, which reads as empty.
func (c Conf) parent(path string) (map[string]any, string) {
	keys := strings.Split(path, ".")
	at := map[string]any(c)
	for _, key := range keys[:len(keys)-1] {
		at, _ = at[key].(map[string]any)
	}
	return at, keys[len(keys)-1]
}
