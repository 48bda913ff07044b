// Package programs gives tests the programs that users get. The Makefile says
// how each is built; the first package that wants one has it built for all.
package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

// patience bounds the wait for another package's build.
const patience = 20 * time.Minute

// Install puts programs into the directory, by their names below bin: netctl,
// dnsd, overlayd, cni/netctl-cni. They are copies, so that a build beside the
// tests does not change them.
func Install(dir string, names ...string) error {
	for _, name := range whole(names) {
		target := filepath.Join("bin", name)
		if err := install(target, target, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("program %s for tests: %w", name, err)
		}
	}
	return nil
}

// InstallTested is Install, with the race detector in the programs if
// NETCTL_TEST_RACE is set, as it is by `make test-race`. A start then takes
// several times as long.
func InstallTested(dir string, names ...string) error {
	if os.Getenv("NETCTL_TEST_RACE") == "" {
		return Install(dir, names...)
	}
	return InstallRaced(dir, names...)
}

// InstallRaced is Install, with the race detector in the programs.
func InstallRaced(dir string, names ...string) error {
	for _, name := range whole(names) {
		target := filepath.Join("bin", "race", name)
		if err := install(target, target, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("program %s for tests, with the race detector: %w", name, err)
		}
	}
	return nil
}

// whole adds what a program needs beside it.
func whole(names []string) []string {
	if slices.Contains(names, "netctl") {
		return append(slices.Clone(names), "netctl-monitor")
	}
	return names
}

// InstallReference puts the reference plugins into the directory.
func InstallReference(dir string) error {
	if err := install("reference", "bin/reference/.", dir); err != nil {
		return fmt.Errorf("reference plugins for tests: %w", err)
	}
	return nil
}

// install has the target made and copies what came of it; both are paths below
// the root of the tree.
func install(target, from, to string) error {
	root, err := root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		return err
	}
	lock, err := flock.Open(filepath.Join(root, "bin", ".lock"), unix.LOCK_EX, patience)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := run(root, "make", "--silent", target); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return run(root, "cp", "-a", from, to)
}

// root is the directory of the Makefile.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// run starts a program in the directory. What a make above this one has put
// into the environment is not meant for it.
func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=")
	})
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}
