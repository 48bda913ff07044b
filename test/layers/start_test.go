package layers

import (
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/netctl/netctl/test/programs"
)

// What the CNI binary links besides ours and what Go's own packages bring, a
// package a line. A new line is a decision: it makes every call slower.
//
//go:embed cni-packages.txt
var linked string

func TestThePluginBinaryLinksNothingNew(t *testing.T) {
	known := strings.Fields(linked)
	var have []string
	for _, p := range list(t, module+"cmd/cni") {
		if p.ImportPath != module+"cmd/cni" {
			continue
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module) || dep == strings.TrimSuffix(module, "/") || strings.Contains(dep, "internal/") || strings.HasPrefix(dep, "vendor/") {
				continue
			}
			have = append(have, dep)
			if !slices.Contains(known, dep) {
				t.Errorf("cmd/cni links %s, which it did not: do without, or add it to cni-packages.txt and say why in the commit", dep)
			}
		}
	}
	for _, dep := range known {
		if !slices.Contains(have, dep) {
			t.Errorf("cmd/cni does not link %s any more: take it out of cni-packages.txt", dep)
		}
	}
}

// TestThePluginStartsLikeAnEmptyProgram counts page faults, which tell how much
// code and data a start touches: they are the larger part of what it takes, and
// unlike its time they don't depend on the machine's load. An empty Go program
// has some 175, the plugin some 140 more.
func TestThePluginStartsLikeAnEmptyProgram(t *testing.T) {
	const most = 190
	dir := t.TempDir()
	source := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bridge := filepath.Join(dir, "bridge")
	if err := errors.Join(programs.Install(dir, "cni/netctl-cni"), os.Symlink("cni/netctl-cni", bridge)); err != nil {
		t.Fatal(err)
	}
	empty, plugin := faults(t, compile(t, dir, "empty", source)), faults(t, bridge)
	t.Logf("page faults: empty program %d, plugin %d", empty, plugin)
	if plugin-empty > most {
		t.Errorf("the plugin's start has %d page faults more than an empty program's: want at most %d (GODEBUG=inittrace=1 shows what is initialised)", plugin-empty, most)
	}
}

// compile builds a program as make builds the plugin.
func compile(t *testing.T, dir, name, what string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", what, err, out)
	}
	return file
}

// faults runs a program, which answers VERSION if it is a plugin, and gives the
// smallest number of page faults of several runs.
func faults(t *testing.T, program string) int64 {
	t.Helper()
	var least int64
	for range 10 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "CNI_COMMAND=VERSION", "GODEBUG=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		n := cmd.ProcessState.SysUsage().(*syscall.Rusage).Minflt
		if least == 0 || n < least {
			least = n
		}
	}
	return least
}
