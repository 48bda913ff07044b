package runner

import (
	"strings"
	"testing"

	"github.com/moby/sys/user"
)

func TestParseUserns(t *testing.T) {
	for text, want := range map[string]string{
		"": "host", "host": "host", "private": "host", "auto": "auto:size=65536", "auto:size=1000": "auto:size=1000",
	} {
		if got, err := ParseUserns(text); err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"keep-id", "auto:", "auto:size=", "auto:size=0", "auto:size=-1", "auto:size=9999999999", "auto:x=1", "nomap", "auto:size=1x"} {
		if got, err := ParseUserns(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestParseIDMap(t *testing.T) {
	for text, want := range map[string]user.IDMap{
		"0:100000:65536": {ID: 0, ParentID: 100000, Count: 65536}, "5:7": {ID: 5, ParentID: 7, Count: 1},
		"0:0:4294967295": {ID: 0, ParentID: 0, Count: 1<<32 - 1},
	} {
		if got, err := ParseIDMap(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "0:1:0", "0:-1:1", "0:1:2:3", "a:1:1", "0:4294967294:2", "4294967294:0:2", "4294967295:0:1", "0:1:99999999999"} {
		if got, err := ParseIDMap(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestCheckIDMaps(t *testing.T) {
	for want, maps := range map[string][]user.IDMap{
		"":        {{ID: 0, ParentID: 1000, Count: 10}, {ID: 10, ParentID: 5000, Count: 10}},
		"root":    {{ID: 1, ParentID: 1000, Count: 10}},
		"overlap": {{ID: 0, ParentID: 1000, Count: 10}, {ID: 9, ParentID: 5000, Count: 10}},
		"340":     make([]user.IDMap, 341),
	} {
		err := CheckIDMaps("user ids", maps)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
	twice := []user.IDMap{{ID: 0, ParentID: 1000, Count: 10}, {ID: 10, ParentID: 1005, Count: 10}}
	if err := CheckIDMaps("user ids", twice); err == nil {
		t.Error("one id of the host for two users was accepted")
	}
}
