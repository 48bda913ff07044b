package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/programs"
)

// TestEachCallIsMet makes directories and is killed at one call after the other
// until none is left: before each of them, and after the last. What has begun is
// not carried out.
func TestEachCallIsMet(t *testing.T) {
	dir := t.TempDir()
	if err := programs.Install(dir, "test/killat"); err != nil {
		t.Fatal(err)
	}
	killat := filepath.Join(dir, "test/killat")
	for name, c := range map[string]struct {
		flags, argv []string
		made        []int // how many there are each time; the last time it is not met
	}{
		"program": {nil, []string{"mkdir", "a", "b", "c"}, []int{0, 1, 2, 3, 3}},
		// One shell makes the child, the other is killed with what the child did.
		"its child":   {nil, []string{"sh", "-c", "mkdir a & wait; echo > b"}, nil},
		"child alone": {[]string{"-child"}, []string{"sh", "-c", "mkdir a; mkdir b; :"}, []int{1, 1, 2, 1, 1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var made []int
			for at := 1; len(made) < at; at++ {
				n, met := tryAt(t, append([]string{killat, fmt.Sprintf("-at=%d", at)}, append(c.flags, c.argv...)...))
				made = append(made, n)
				if !met {
					break
				}
			}
			if c.made != nil && !slices.Equal(made, c.made) || !slices.IsSorted(made) && c.flags == nil || made[len(made)-1] != slices.Max(made) {
				t.Errorf("files each time: %v, want %v", made, c.made)
			}
		})
	}
}

// tryAt runs a command in a directory of its own, and tells how many files there
// are then and whether something was killed.
func tryAt(t *testing.T, argv []string) (files int, met bool) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if (err != nil) == strings.Contains(string(out), " calls\n") {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	made, err := filepath.Glob(cmd.Dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(made), cmd.ProcessState.ExitCode() == killed
}
