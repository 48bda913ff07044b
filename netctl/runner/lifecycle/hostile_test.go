package lifecycle_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/runner"
)

// hostileRoot makes a root file system that has the host's programs below /usr
// and otherwise what plant puts there.
func hostileRoot(t *testing.T, plant func(root string) error) *runner.Config {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(root, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "lib", "lib64", "sbin"} {
		if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := plant(root); err != nil {
		t.Fatal(err)
	}
	cfg := shell("echo ran; echo evil > /etc/hosts; echo evil > /dev/evil; echo evil > /vol/evil")
	cfg.Layers = []string{root}
	cfg.Mounts = []runner.Mount{
		{Kind: runner.MountBind, Source: "/usr", Target: "/usr", ReadOnly: true},
		{Kind: runner.MountTmpfs, Target: "/vol"},
	}
	return cfg
}

// snapshot is everything below a directory, as text.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(content)
		}
		fmt.Fprintf(&b, "%s %v %q\n", path, info.Mode(), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Row 1 of the checklist: whatever the root file system has in the places where
// something is mounted or made, the host is unchanged and the start is refused
// or goes on inside. (Debian 12's runc wrote to the host here: CVE-2026-41579's
// kind.)
func TestHostileRoot(t *testing.T) {
	for _, place := range []string{"dev", "proc", "sys", "etc", "vol", "etc/hosts", "etc/resolv.conf", "etc/passwd", "dev/pts", "dev/shm", "sys/fs/cgroup"} {
		for kind, target := range map[string]func(outside string) string{
			"absolute":    func(outside string) string { return outside },
			"climbing":    func(outside string) string { return strings.Repeat("../", 40) + outside[1:] },
			"dangling":    func(outside string) string { return filepath.Join(outside, "none") },
			"both sides":  func(string) string { return "/usr" },
			"to the root": func(string) string { return "/" },
		} {
			t.Run(strings.ReplaceAll(place, "/", "-")+" "+kind, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				outside := filepath.Join(t.TempDir(), "outside")
				if err := os.MkdirAll(filepath.Join(outside, "fs/cgroup"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(outside, "hosts"), []byte("host's own"), 0o644); err != nil {
					t.Fatal(err)
				}
				cfg := hostileRoot(t, func(root string) error {
					path := filepath.Join(root, place)
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						return err
					}
					return os.Symlink(target(outside), path)
				})
				before, layer := snapshot(t, outside), snapshot(t, cfg.Layers[0])
				r, err := h.run(cfg, "")
				if err == nil && !strings.HasPrefix(r.stdout, "ran\n") {
					t.Errorf("neither refused nor run: %v", r)
				}
				if after := snapshot(t, outside); after != before {
					t.Errorf("the host was changed:\n%s\nnow\n%s", before, after)
				}
				if after := snapshot(t, cfg.Layers[0]); after != layer {
					t.Errorf("the layer was changed:\n%s\nnow\n%s", layer, after)
				}
				h.checkNoCgroup(cfg.ID)
			})
		}
	}
}

// A harmless root of this kind runs, or the test above would prove nothing.
func TestDirectoryAsRoot(t *testing.T) {
	h := newHost(t)
	cfg := hostileRoot(t, func(root string) error { return os.Mkdir(filepath.Join(root, "etc"), 0o755) })
	if r := h.mustRun(cfg); r.stdout != "ran\n" || r.stderr != "" {
		t.Errorf("got %v", r)
	}
}
