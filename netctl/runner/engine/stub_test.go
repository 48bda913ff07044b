package engine

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Row 6: built without libseccomp, or without cgo, the engine makes no container
// rather than one without its filter. The test runs itself in such a build.
func TestWithoutFilterNothingRuns(t *testing.T) {
	const inner = "TEST_WITHOUT_FILTER"
	if os.Getenv(inner) != "" {
		_, created := Engine{Root: t.TempDir()}.Create("x", nil)
		_, loaded := Engine{Root: t.TempDir()}.Load("x")
		if !errors.Is(created, ErrNotBuilt) || !errors.Is(loaded, ErrNotBuilt) {
			t.Errorf("create: %v, load: %v", created, loaded)
		}
		return
	}
	cmd := exec.Command("go", "test", "-tags=", "-v", "-run", t.Name(), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", inner+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}
