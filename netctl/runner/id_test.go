package runner

import (
	"strings"
	"testing"
)

func TestNewIDIsOneThatParses(t *testing.T) {
	a, b := NewID(), NewID()
	if a == b {
		t.Fatal("the same ID twice")
	}
	if got, err := ParseID(string(a)); err != nil || got != a {
		t.Errorf("ParseID(%s) = %s, %v", a, got, err)
	}
	if s := a.Short(); len(s) != 12 || !strings.HasPrefix(string(a), s) {
		t.Errorf("short form %q of %s", s, a)
	}
}

// An ID becomes part of a path, so nothing else may pass for one.
func TestParseIDRefuses(t *testing.T) {
	good := strings.Repeat("0123456789abcdef", 4)
	for _, s := range []string{"", "abc", good[1:], good + "0", strings.ToUpper(good), "../" + good[3:], good[:63] + "\n", good[:63] + "g"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q passed", s)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"web", "a1", "My_app-1.0", "0x", "a.b", strings.Repeat("a", 253)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a", ".", "..", "-x", "_x", ".x", "a/b", "a b", "a\n", "wéb", "a:b", strings.Repeat("a", 254)} {
		if err := CheckName(name); err == nil {
			t.Errorf("%q passed", name)
		}
	}
}

func TestRandomNamesAreValid(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		name := RandomName()
		if err := CheckName(name); err != nil {
			t.Fatal(err)
		}
		seen[name] = true
	}
	if len(seen) < 500 {
		t.Errorf("only %d different names in 1000", len(seen))
	}
}
