package store

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFastPathValues(t *testing.T) {
	for text, c := range map[string]struct {
		want    FastPath
		written string // "" leaves the key out
	}{
		`{}`:                   {FastAuto, ""},
		`{"fastPath":null}`:    {FastAuto, ""},
		`{"fastPath":"auto"}`:  {FastAuto, ""},
		`{"fastPath":true}`:    {FastOn, `"fastPath":true`},
		`{"fastPath":"true"}`:  {FastOn, `"fastPath":true`},
		`{"fastPath":false}`:   {FastOff, `"fastPath":false`},
		`{"fastPath":"false"}`: {FastOff, `"fastPath":false`},
	} {
		var n Network
		if err := json.Unmarshal([]byte(text), &n); err != nil || n.FastPath != c.want {
			t.Errorf("%s: %v, %v; want %v", text, n.FastPath, err, c.want)
		}
		// What an earlier version can read, for which it was true or false.
		data, err := json.Marshal(n)
		if err != nil || c.written == "" && strings.Contains(string(data), "fastPath") || !strings.Contains(string(data), c.written) {
			t.Errorf("%s is written as %s, %v; want %q in it", text, data, err, c.written)
		}
		if again, err := ParseFastPath(c.want.String()); err != nil || again != c.want {
			t.Errorf("%v is read as %v, %v", c.want, again, err)
		}
	}
	for _, text := range []string{`{"fastPath":"perhaps"}`, `{"fastPath":1}`, `{"fastPath":[]}`, `{"fastPath":{}}`} {
		var n Network
		if err := json.Unmarshal([]byte(text), &n); err == nil || !strings.Contains(err.Error(), "fastPath") {
			t.Errorf("%s: %v, want an error that names the key", text, err)
		}
	}
}
