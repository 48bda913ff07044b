package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner/spec"
)

// ownMounts runs the test in a mount namespace of its own.
func ownMounts(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Errorf("needs root: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		test(t)
	}()
	<-done
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

func TestOverlay(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		// The kernel separates options by commas and layers by colons.
		dir := filepath.Join(t.TempDir(), `a,b:c\d`)
		top, bottom := filepath.Join(dir, "top"), filepath.Join(dir, "bottom")
		write(t, filepath.Join(top, "both"), "top")
		write(t, filepath.Join(bottom, "both"), "bottom")
		write(t, filepath.Join(bottom, "one"), "one")
		if err := os.Chmod(top, 0o751); err != nil {
			t.Error(err)
		}
		o := Overlay{Lower: []string{top, bottom}, Work: filepath.Join(dir, "rw"), Merged: filepath.Join(dir, "merged")}
		for round := range 2 {
			volatile, err := o.Mount()
			if err != nil || volatile {
				t.Errorf("round %d: %v, %v", round, volatile, err)
				return
			}
			for name, want := range map[string]string{"both": "top", "one": "one"} {
				if got, _ := os.ReadFile(filepath.Join(o.Merged, name)); string(got) != want {
					t.Errorf("%s: got %q", name, got)
				}
			}
			if st, _ := os.Stat(o.Merged); st.Mode().Perm() != 0o751 {
				t.Errorf("mode of the root is %v", st.Mode())
			}
			_, err = os.Stat(filepath.Join(o.Merged, "new"))
			if (err == nil) != (round == 1) {
				t.Errorf("round %d: new: %v", round, err)
			}
			write(t, filepath.Join(o.Merged, "new"), "x")
			if err := o.Unmount(); err != nil {
				t.Error(err)
			}
		}
		if entries, _ := os.ReadDir(top); len(entries) != 1 {
			t.Errorf("the layer was written to: %v", entries)
		}
	})
}

// A data directory that is itself on an overlay cannot hold an upper layer.
func TestOverlayOnAnOverlay(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		dir := t.TempDir()
		lower := filepath.Join(dir, "lower")
		write(t, filepath.Join(lower, "file"), "x")
		first := Overlay{Lower: []string{lower}, Work: filepath.Join(dir, "rw"), Merged: filepath.Join(dir, "merged")}
		if _, err := first.Mount(); err != nil {
			t.Error(err)
			return
		}
		defer first.Unmount()
		data := first.Merged
		second := Overlay{Lower: []string{lower}, Work: filepath.Join(data, "rw"), Merged: filepath.Join(data, "m"), Discard: true}
		volatile, err := second.Mount()
		if err != nil || !volatile {
			t.Errorf("got %v, %v", volatile, err)
			return
		}
		write(t, filepath.Join(second.Merged, "new"), "x")
		if err := second.Unmount(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(second.Work, "upper", "new")); err == nil {
			t.Error("the tmpfs is still there")
		}
	})
}

// The options of a mount are one page, and an image may have 127 layers and more.
func TestOverlayOfManyLayers(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		dir := t.TempDir()
		o := Overlay{Work: filepath.Join(dir, "rw"), Merged: filepath.Join(dir, "merged")}
		for i := range 200 {
			layer := filepath.Join(dir, strings.Repeat("x", 60)+fmt.Sprint(i))
			write(t, filepath.Join(layer, fmt.Sprint(i)), "x")
			o.Lower = append(o.Lower, layer)
		}
		if _, err := o.Mount(); err != nil {
			t.Error(err)
			return
		}
		if entries, _ := os.ReadDir(o.Merged); len(entries) != 200 {
			t.Errorf("%d of 200 layers are there", len(entries))
		}
		if err := o.Unmount(); err != nil {
			t.Error(err)
		}
	})
}

func TestOverlayRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x")
	for _, lower := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "file")} {
		o := Overlay{Lower: []string{lower}, Work: filepath.Join(dir, "rw"), Merged: filepath.Join(dir, "m")}
		if _, err := o.Mount(); err == nil || !strings.Contains(err.Error(), lower) {
			t.Errorf("%s: %v", lower, err)
		}
	}
}

func TestHidden(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"root/var/lib", "else"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("lib", filepath.Join(dir, "root/var/alias")); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	for _, c := range []struct {
		lower, hide, want string
	}{
		{"/", "/run/x-that-is-not-there", "[/run/x-that-is-not-there]"},
		{root, filepath.Join(root, "var/lib"), "[/var/lib]"},
		{root, filepath.Join(root, "var/alias"), "[/var/lib]"},
		{root, filepath.Join(dir, "else"), "[]"},
		{root, dir, "[]"},
	} {
		if got := fmt.Sprint(Hidden([]string{c.lower}, c.hide)); got != c.want {
			t.Errorf("%s in %s: got %s, want %s", c.hide, c.lower, got, c.want)
		}
	}
}

func TestLookupUser(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1001::/home/me:/bin/sh\n")
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\nmine:x:1001:\nextra:x:27:me\n")
	for name, want := range map[string]spec.User{
		"":         {UID: 0, GID: 0, Home: "/root"},
		"root":     {UID: 0, GID: 0, Home: "/root"},
		"me":       {UID: 1000, GID: 1001, Groups: []uint32{27}, Home: "/home/me"},
		"me:extra": {UID: 1000, GID: 27, Home: "/home/me"},
		"1000":     {UID: 1000, GID: 1001, Groups: []uint32{27}, Home: "/home/me"},
		"7:8":      {UID: 7, GID: 8, Home: "/"},
	} {
		got, err := LookupUser(root, name, nil)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, name := range []string{"nobody", "me:nogroup", "-1", "4294967296"} {
		if got, err := LookupUser(root, name, nil); err == nil {
			t.Errorf("%q: got %+v", name, got)
		}
	}
}

func TestFurtherGroups(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/passwd"), "me:x:1000:1001::/home/me:/bin/sh\n")
	write(t, filepath.Join(root, "etc/group"), "mine:x:1001:\nextra:x:27:me\nvideo:x:44:\n")
	got, err := LookupUser(root, "me", []string{"video", "5000", "44"})
	slices.Sort(got.Groups)
	if err != nil || fmt.Sprint(got.Groups) != "[27 44 5000]" {
		t.Errorf("got %v, %v", got.Groups, err)
	}
	for _, group := range []string{"nogroup", "-1", "4294967296"} {
		if got, err := LookupUser(root, "me", []string{group}); err == nil {
			t.Errorf("%q: got %+v", group, got)
		}
	}
}

func TestNoPasswdAtAll(t *testing.T) {
	root := t.TempDir()
	if u, err := LookupUser(root, "5", nil); err != nil || u.UID != 5 {
		t.Errorf("got %+v, %v", u, err)
	}
	if _, err := LookupUser(root, "me", nil); err == nil {
		t.Error("found a user in no file")
	}
}

// The root file system is hostile: nothing outside may be read, and no special
// file may hold us up.
func TestHostilePasswd(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "passwd")
	write(t, secret, "me:x:1000:1000::/outside:/bin/sh\n")
	for name, plant := range map[string]func(path string) error{
		"absolute link":   func(p string) error { return os.Symlink(secret, p) },
		"climbing link":   func(p string) error { return os.Symlink(strings.Repeat("../", 30)+secret[1:], p) },
		"link to itself":  func(p string) error { return os.Symlink("passwd", p) },
		"magic link":      func(p string) error { return os.Symlink("/proc/self/fd/0", p) },
		"fifo":            func(p string) error { return unix.Mkfifo(p, 0o666) },
		"directory":       func(p string) error { return os.Mkdir(p, 0o755) },
		"device":          func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
		"unknown device":  func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(4000, 7))) },
		"link to /etc up": func(p string) error { return os.Symlink("/../../etc/passwd", p) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := plant(filepath.Join(root, "etc/passwd")); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, user := range []string{"me", "daemon"} {
					u, err := LookupUser(root, user, nil)
					if err == nil {
						t.Errorf("found %+v", u)
					}
					// Of a device that nobody has: who opens it is told so.
					if name == "unknown device" && !strings.Contains(err.Error(), "not a regular file") {
						t.Errorf("it was opened: %v", err)
					}
				}
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("hangs")
			}
		})
	}
	t.Run("etc itself a link", func(t *testing.T) {
		root := t.TempDir()
		if err := os.Symlink(filepath.Dir(secret), filepath.Join(root, "etc")); err != nil {
			t.Fatal(err)
		}
		if u, err := LookupUser(root, "me", nil); err == nil {
			t.Errorf("found %+v", u)
		}
	})
}
