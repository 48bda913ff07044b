package plugins_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/netctl/netctl/test/programs"
)

// installReference installs the reference plugins once.
var installReference = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(binaries, "reference")
	return dir, programs.InstallReference(dir)
})

// reference is the directory of the reference plugins.
func reference(t testing.TB) string {
	t.Helper()
	dir, err := installReference()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
