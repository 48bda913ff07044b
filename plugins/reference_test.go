package plugins_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// buildReference builds the reference plugins once.
var buildReference = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(binaries, "reference")
	const module = "github.com/containernetworking/plugins/plugins/"
	args := []string{"build", "-o", dir + "/"}
	for _, plugin := range []string{"ipam/host-local", "main/bridge", "meta/portmap", "meta/firewall"} {
		args = append(args, module+plugin)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the reference plugins: %w\n%s", err, out)
	}
	return dir, nil
})

// reference is the directory of the reference plugins.
func reference(t testing.TB) string {
	t.Helper()
	dir, err := buildReference()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
