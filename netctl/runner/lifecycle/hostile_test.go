package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/go-archive"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
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
			"magic":       func(outside string) string { return "/proc/1/root" + outside },
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

// Row 2: whatever of ours looks for a path inside of the root file system follows
// links as the container would. Each place leads to a directory of the host that has
// a secret, and the user's name is in a passwd file out there.
func TestOwnWaysStayInside(t *testing.T) {
	h := newHost(t)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"secret": "the host's", "passwd": "stranger:x:7:7::/:/bin/sh\n", "group": "stranger:x:7:\n"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"etc": outside, "data": outside, "up": strings.Repeat("../", 40) + outside[1:]}
	make := func(script string) *runner.Config {
		cfg := hostileRoot(t, func(root string) error {
			var errs []error
			for name, target := range links {
				errs = append(errs, os.Symlink(target, filepath.Join(root, name)))
			}
			return errors.Join(errs...)
		})
		cfg.Process.Args = []string{"/bin/sh", "-c", script}
		return cfg
	}
	before := snapshot(t, outside)

	named := make("true")
	named.Process.User = "stranger"
	if _, err := h.run(named, ""); err == nil || !strings.Contains(err.Error(), "stranger") {
		t.Errorf("a user of the host's file: %v", err)
	}
	filled := make("ls -A /proc/1/root/data/ 2>/dev/null")
	filled.Mounts = append(filled.Mounts, runner.Mount{Kind: runner.MountVolume, Source: "vol", Target: "/data"})
	if r, err := h.run(filled, ""); err == nil && strings.Contains(r.stdout, "secret") {
		t.Errorf("a volume was filled from the host: %v", r)
	}
	if names, err := os.ReadDir(h.Store.VolumePath("vol")); err != nil || len(names) > 0 {
		t.Errorf("the volume has %v, %v", names, err)
	}

	rec := h.start(make("sleep 1000"))
	for _, state := range []string{"running", "stopped"} {
		for _, path := range []string{"/data/secret", "/up/secret", "/etc/passwd"} {
			err := h.CopyOut(context.Background(), &rec, path, lifecycle.CopyOptions{FollowLink: true}, func(r io.Reader, _ archive.CopyInfo) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			if err == nil {
				t.Errorf("%s: %s was copied out", state, path)
			}
		}
		from := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(from, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := archive.CopyInfoSourcePath(from, false)
		if err != nil {
			t.Fatal(err)
		}
		content, err := archive.TarResource(info)
		if err != nil {
			t.Fatal(err)
		}
		_ = h.CopyIn(context.Background(), &rec, content, info, "/data/", lifecycle.CopyOptions{}) // refused, or inside
		content.Close()
		if err := h.Stop(context.Background(), &rec, syscall.SIGKILL, 0); err != nil {
			t.Fatal(err)
		}
		rec = h.find(rec.Name)
	}
	if after := snapshot(t, outside); after != before {
		t.Errorf("the host was changed:\n%s\nnow\n%s", before, after)
	}
	h.removeAll()
	if err := h.RemoveVolume("vol"); err != nil {
		t.Error(err)
	}
}
