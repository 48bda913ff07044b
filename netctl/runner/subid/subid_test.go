package subid

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/user"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "subid")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func held(first, count int64) user.IdentityMapping {
	m := []user.IDMap{{ParentID: first, Count: count}}
	return user.IdentityMapping{UIDMaps: m, GIDMaps: m}
}

func TestPick(t *testing.T) {
	const file = "alice:100000:65536\ncontainers:500000:300\nnetctl:1000:250\nnetctl:2000:100\n"
	for name, c := range map[string]struct {
		file  string
		size  int64
		taken []user.IdentityMapping
		want  int64
	}{
		"first":                      {file, 100, nil, 1000},
		"after another":              {file, 100, []user.IdentityMapping{held(1000, 100)}, 1100},
		"in a gap":                   {file, 100, []user.IdentityMapping{held(1100, 100)}, 1000},
		"gap too small, next range":  {file, 100, []user.IdentityMapping{held(1159, 10), held(1050, 10)}, 2000},
		"exactly the rest":           {file, 100, []user.IdentityMapping{held(1000, 150)}, 1150},
		"across the start":           {file, 100, []user.IdentityMapping{held(900, 150)}, 1050},
		"others' are no matter":      {file, 100, []user.IdentityMapping{held(100000, 65536)}, 1000},
		"podman's, where ours lacks": {"containers:500000:300\n", 100, nil, 500000},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.file)
			got, err := Files{path, path}.Pick(c.size, c.taken)
			if err != nil || len(got.UIDMaps) != 1 || got.UIDMaps[0] != (user.IDMap{ID: 0, ParentID: c.want, Count: c.size}) || got.GIDMaps[0] != got.UIDMaps[0] {
				t.Errorf("got %+v, %v; want %d ids from %d on", got, err, c.size, c.want)
			}
		})
	}
}

func TestPickRefuses(t *testing.T) {
	good := write(t, "netctl:1000:100\n")
	var none *NoRangeError
	for _, files := range []Files{
		{write(t, ""), good}, {good, write(t, "alice:1000:100\n")}, {good, filepath.Join(t.TempDir(), "missing")},
	} {
		if _, err := files.Pick(10, nil); !errors.As(err, &none) {
			t.Errorf("%+v: got %v", files, err)
		}
	}
	var full *FullError
	if _, err := (Files{good, good}).Pick(60, []user.IdentityMapping{held(1000, 50)}); !errors.As(err, &full) || full.Containers != 1 {
		t.Errorf("got %v", err)
	}
	for _, line := range []string{"netctl:x:100", "netctl:0:100", "netctl:1000:0", "netctl:1000:x"} {
		if _, err := (Files{write(t, line+"\n"), good}).Pick(60, nil); err == nil || !strings.Contains(err.Error(), "malformed line of netctl") {
			t.Errorf("%s: got %v", line, err)
		}
	}
}
