package names

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want Name
		bad  bool
	}{
		{in: "web", want: "\x03web"},
		{in: "WEB.MyNet.", want: "\x03web\x05mynet"},
		{in: "", want: ""},
		{in: ".", want: ""},
		{in: "_a._udp", want: "\x02_a\x04_udp"},
		{in: "a..b", bad: true},
		{in: "..", bad: true},
		{in: ".a", bad: true},
		{in: strings.Repeat("x", 63), want: Name("\x3f" + strings.Repeat("x", 63))},
		{in: strings.Repeat("x", 64), bad: true},
		{in: strings.Repeat("abcdefg.", 31) + "abcde", want: Name(strings.Repeat("\x07abcdefg", 31) + "\x05abcde")},
		{in: strings.Repeat("abcdefg.", 31) + "abcdef", bad: true},
	}
	for _, test := range tests {
		got, err := Parse(test.in)
		if test.bad {
			if !errors.Is(err, ErrBadName) {
				t.Errorf("Parse(%q) = %q, %v; want an error", test.in, got, err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("Parse(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestNameString(t *testing.T) {
	for name, want := range map[Name]string{
		"":                      ".",
		"\x03web\x05mynet":      "web.mynet",
		"\x03a.b\x01\x00\x01\\": `a\046b.\000.\092`,
	} {
		if got := name.String(); got != want {
			t.Errorf("%q: got %s, want %s", string(name), got, want)
		}
	}
}

func TestCutSuffix(t *testing.T) {
	tests := []struct {
		name, suffix, before string
		ok                   bool
	}{
		{"web.mynet", "mynet", "web", true},
		{"mynet", "mynet", "", true},
		{"webmynet", "mynet", "", false},
		{"net", "mynet", "", false},
		{"a.b.c", "", "a.b.c", true},
	}
	for _, test := range tests {
		before, ok := cutSuffix([]byte(MustParse(test.name)), MustParse(test.suffix))
		if ok != test.ok || (ok && Name(before) != MustParse(test.before)) {
			t.Errorf("%s cut at %s: %q, %v", test.name, test.suffix, before, ok)
		}
	}
	// The bytes match but no label begins there: "\x06" + "a\x03com" + "..."
	if _, ok := cutSuffix([]byte("\x05a\x03com"), "\x03com"); ok {
		t.Error("matched inside a label")
	}
}
