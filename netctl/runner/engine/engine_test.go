package engine

import (
	"errors"
	"testing"
)

// The texts are libcontainer's, as seen with runc 1.5.2.
func TestExplain(t *testing.T) {
	const prefix = "unable to start container process: error during container init: "
	for text, want := range map[string]int{
		prefix + `exec: "x": executable file not found in $PATH`:  127,
		prefix + `exec: "/x": stat /x: no such file or directory`: 127,
		prefix + `exec: "/etc/passwd": permission denied`:         126,
		prefix + `exec: "/etc": is a directory`:                   126,
		prefix + `exec: "/x": exec format error`:                  126,
		prefix + `exec: "/x": something new`:                      125,
		prefix + `chdir to cwd ("/x"): no such file or directory`: 125,
		"network my-bridge: no free address":                      125,
	} {
		status, short := Explain(errors.New(text))
		if status != want {
			t.Errorf("%s: got %d, want %d", text, status, want)
		}
		if want > 125 && short != text[len(prefix):] {
			t.Errorf("%s: shown as %q", text, short)
		}
	}
}
