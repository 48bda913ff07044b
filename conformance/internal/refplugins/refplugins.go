// Package refplugins builds the reference plugins that the suite's own tests
// measure it by. Their versions are pinned in conformance/reference/go.mod, a
// module of its own, so that they add nothing to the product's dependencies.
package refplugins

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Version is the release that reference/go.mod pins.
const Version = "v1.9.1"

// Build puts the reference plugins into dir. Upstream's release script sets
// the version of the banner; without it C009 would be judged on "version
// unknown".
func Build(dir string) error {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return fmt.Errorf("build reference plugins: source directory unknown")
	}
	cmd := exec.Command("go", "install", "-trimpath", "-ldflags",
		"-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion="+Version, "tool")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "reference")
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build reference plugins: %w: %s", err, out)
	}
	return nil
}
