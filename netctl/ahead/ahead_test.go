package ahead

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/netctl/netctl/test/programs"
)

func TestIsRun(t *testing.T) {
	for arguments, want := range map[string]bool{
		"netctl\x00run\x00--rm\x00host\x00": true,
		"netctl\x00run\x00":                 true,
		"netctl\x00runs\x00":                false,
		"netctl\x00ps\x00run\x00":           false,
		"netctl\x00":                        false,
		"run\x00":                           false,
		"netctl\x00ru":                      false,
		"":                                  false,
	} {
		if got := isRun([]byte(arguments)); got != want {
			t.Errorf("%q: %v, want %v", arguments, got, want)
		}
	}
}

// This is initialised as soon as package syscall is: before package os, on which
// nearly all others wait.
func TestFirst(t *testing.T) {
	dir := t.TempDir()
	if err := programs.Install(dir, "netctl"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "netctl"), "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// "init PACKAGE @0.5 ms, ..."
	we, others := bytes.Index(out, []byte("init github.com/netctl/netctl/netctl/ahead @")), bytes.Index(out, []byte("init os @"))
	if we < 0 || others < 0 || we > others {
		t.Errorf("package os is initialised before this: what has come to be imported?\n%s", out)
	}
}
