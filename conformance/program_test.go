package conformance_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/report"
	"github.com/netctl/netctl/conformance/trial"
)

// program is the suite's own command line.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(onStage(t).player, args...)
}

// TestRunAndCompare: one row through the command line, in every output.
func TestRunAndCompare(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	known := file("known")
	if err := os.WriteFile(known, []byte("C045 * the library answers its own version\nC044 * stale\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"run", "--plugin-dir", onStage(t).plugins, "--conf", "examples/loopback.conf", "--filter", "C044,C045", "--label", "mine",
		"--json", file("r.json"), "--junit", file("r.xml")}
	out, err := program(t, args...).CombinedOutput()
	if exitCode(err) != 1 || !strings.Contains(string(out), "C045  MUST, spec") {
		t.Fatalf("exit %d, want 1 and C045 in full:\n%s", exitCode(err), out)
	}
	out, err = program(t, append(args, "--known", known)...).CombinedOutput()
	if exitCode(err) != 0 || !strings.Contains(string(out), "known deviation C044 of * did not happen") {
		t.Fatalf("with known deviations exit %d, want 0 and a word about the stale one:\n%s", exitCode(err), out)
	}
	run, err := report.Read(file("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Results) != 2 || run.Results[1].Verdict != trial.Known || len(run.Results[1].Calls) == 0 {
		t.Errorf("the record has %+v", run.Results)
	}
	if xml, err := os.ReadFile(file("r.xml")); err != nil || !bytes.Contains(xml, []byte(`<testsuite name="loopback" tests="2"`)) {
		t.Errorf("JUnit: %v\n%s", err, xml)
	}
	out, err = program(t, "explain", "c045", "--from", file("r.json")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sent    CNI_COMMAND=VERSION") || !strings.Contains(string(out), "wanted  cniVersion 0.1.0") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	out, err = program(t, "compare", file("r.json"), file("r.json")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "| mine | mine |") {
		t.Errorf("compare: %v\n%s", err, out)
	}
}

func TestMistakesAreExplained(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known")
	must(t, os.WriteFile(known, []byte("C900 * no such row\n"), 0o600))
	loopback := []string{"run", "--plugin-dir", onStage(t).plugins, "--conf", "examples/loopback.conf"}
	loopback = slices.Clip(loopback)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--conf", "x"}, "plugin-dir"},
		{[]string{"run", "--plugin-dir", "/nowhere", "--conf", "examples/loopback.conf"}, `"loopback" is not in [/nowhere]`},
		{[]string{"run", "--plugin-dir", ".", "--conf", "examples/none.conf"}, "no such file"},
		{[]string{"run", "--plugin-dir", ".", "--conf", "x", "--profile", "y"}, "spec runtime netctl"},
		{[]string{"run", "--plugin-dir", ".", "--conf", "x", "--filter", "C04*,C999"}, `no row "C999"`},
		{[]string{"run", "--plugin-dir", ".", "--conf", "x", "--filter", "C042"}, "--profile netctl"},
		{[]string{"run", "--plugin-dir", ".", "--conf", "x", "--known", known}, `no row "C900"`},
		{[]string{"run", "--plugin-dir", ".", "--conf", "x", "--json", "/nowhere/r.json"}, "/nowhere/r.json"},
		{append(loopback, "--subject", "bridge"), "the configuration has loopback"},
		{append(loopback, "--kind", "bridge=ipam"), "the configuration has loopback"},
		{append(loopback, "--filter", "C182"), "concerns none of loopback"},
		{[]string{"list", "C999"}, `no row "C999"`},
		{[]string{"explain"}, "which row"},
		{[]string{"explain", "C999"}, `no row "C999"`},
		{[]string{"explain", "C045", "--from", "x"}, "no such file"},
		{[]string{"compare"}, "which runs"},
		{[]string{"compare", "x"}, "no such file"},
		{[]string{"compare", "x", "--format", "pdf"}, "markdown or html"},
	} {
		out, err := program(t, row.args...).CombinedOutput()
		if exitCode(err) != 2 || !strings.Contains(string(out), row.want) {
			t.Errorf("%v: exit %d, want 2 and %q: %s", row.args, exitCode(err), row.want, out)
		}
	}
}

// patience bounds waits for events that come soon on an idle machine.
const patience = time.Minute

// TestInterruptLeavesNothing: after Ctrl-C, and after SIGKILL, no process
// of the run is left and the machine's own directories are untouched.
func TestInterruptLeavesNothing(t *testing.T) {
	plugins := onStage(t).plugins
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			before := footprint(t)
			cmd := program(t, "run", "--plugin-dir", plugins, "--conf", "examples/bridge.conflist", "--profile", "netctl", "--filter", "C02*,C078,C182")
			out := record(t, cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			must(t, lab.Eventually(patience, func() error {
				if running(plugins) == nil || !strings.Contains(out(), "judging") {
					return errors.New("no row was seen to be judged:\n" + out())
				}
				return nil
			}))
			cmd.Process.Signal(signal)
			cmd.Wait()
			if exit := cmd.ProcessState.ExitCode(); signal == syscall.SIGINT && (exit != 130 || !strings.Contains(out(), "interrupted after")) {
				t.Errorf("exit %d, want 130 and a word about the interrupt:\n%s", exit, out())
			}
			must(t, lab.Eventually(patience, func() error { return running(plugins) }))
			if after := footprint(t); after != before {
				t.Errorf("the machine was %q and is %q", before, after)
			}
		})
	}
}

// record keeps what a command prints in a file that can be read meanwhile.
func record(t *testing.T, cmd *exec.Cmd) (text func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	t.Cleanup(func() { file.Close() })
	cmd.Stdout, cmd.Stderr = file, file
	return func() string {
		b, err := os.ReadFile(file.Name())
		must(t, err)
		return string(b)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// running fails while a process of a plugin directory lives.
func running(dir string) error {
	entries, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if exe, err := os.Readlink(entry); err == nil && strings.HasPrefix(exe, dir+"/") {
			return fmt.Errorf("%s still runs as %s", exe, filepath.Dir(entry))
		}
	}
	return nil
}

// footprint is what a run could have left on the machine.
func footprint(t *testing.T) string {
	t.Helper()
	var parts []string
	for _, dir := range []string{"/run/cni-conformance", "/run/cni", "/var/lib/cni/networks"} {
		_, err := os.Stat(dir)
		parts = append(parts, fmt.Sprintf("%s %v", dir, err == nil))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	parts = append(parts, fmt.Sprintf("conformance mounts %d", bytes.Count(mounts, []byte("cni-conformance"))))
	return strings.Join(parts, ", ")
}

// TestShellLineReproduces: the line in the record does, without the suite,
// what the row did.
func TestShellLineReproduces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	program(t, "run", "--plugin-dir", onStage(t).plugins, "--conf", "examples/bridge.conflist", "--profile", "netctl", "--json", file,
		"--filter", "C029,C082,C167", "--subject", "bridge").Run()
	run, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range run.Results {
		if r.Verdict != trial.Fail {
			continue
		}
		if r.Partial != "" {
			t.Errorf("%s: the line leaves out %s", r.Row, r.Partial)
		}
		out, _ := exec.Command("sh", "-c", r.Shell).CombinedOutput()
		last := r.Calls[len(r.Calls)-1]
		if want := strings.TrimSpace(last.Stdout); !strings.Contains(string(out), want) {
			t.Errorf("%s: the line prints\n%s\nwithout the last answer of the row:\n%s", r.Row, out, want)
		}
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}
