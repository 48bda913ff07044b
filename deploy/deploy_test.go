// Package deploy has the systemd units and the Kubernetes manifest.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnits: systemd finds nothing wrong with any unit.
func TestUnits(t *testing.T) {
	var units []string
	for _, pattern := range []string{"*.service", "*.socket"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		units = append(units, found...)
	}
	if out := verify(t, nil, units...); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	// The tool does find mistakes, in each kind.
	for unit, edit := range map[string][2]string{
		"netctl-dnsd.service": {"RestrictNamespaces=net", "RestrictNamespace=net"},
		"netctl-dnsd.socket":  {"SocketMode=0600", "SocketMode=0999"},
	} {
		if out := verify(t, strings.NewReplacer(edit[0], edit[1]), unit); !strings.Contains(out, unit) {
			t.Errorf("%s with %s: the verification says %q", unit, edit[1], out)
		}
	}
}

// verify is what systemd-analyze(1) says about units. Their programs need not
// be installed here: others stand in for them.
func verify(t *testing.T, edit *strings.Replacer, units ...string) string {
	t.Helper()
	dir := t.TempDir()
	installed := strings.NewReplacer("/usr/local/bin/netctl", "/bin/true", "/usr/local/bin/dnsd", "/bin/true", "/usr/local/bin/overlayd", "/bin/true")
	args := []string{"verify", "--man=no"}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "Description=") {
			t.Errorf("%s has no description", unit)
		}
		body := installed.Replace(string(text))
		if edit != nil {
			body = edit.Replace(body)
		}
		path := filepath.Join(dir, unit)
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":/lib/systemd/system")
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return string(out)
}
