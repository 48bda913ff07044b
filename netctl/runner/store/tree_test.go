package store

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownMounts runs the test in a mount namespace of its own, on a thread that is
// thrown away.
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

func write(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("precious"), 0o600)); err != nil {
		t.Error(err)
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestRemoveTree(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside", "file")
	write(t, outside)
	write(t, filepath.Join(dir, "c", "a", "b", "file"))
	for name, target := range map[string]string{"link": filepath.Dir(outside), "up": "../../outside", "dangling": "/no/such"} {
		if err := os.Symlink(target, filepath.Join(dir, "c", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "c", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "c", "a"), 0); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(dir, "c"); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(dir, "c")) || !exists(outside) {
		t.Error("the wrong things are gone")
	}
	if err := removeTree(dir, "c"); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := removeTree(filepath.Join(dir, "none"), "c"); err != nil {
		t.Errorf("without parent: %v", err)
	}
}

// A program can make directories deeper than we can hold open.
func TestRemoveDeepTree(t *testing.T) {
	var limit unix.Rlimit // Go has raised it as far as it goes
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(1024, limit.Max), Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := "c"
	for range 3000 {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd, name = next, "d"
	}
	unix.Close(fd)
	if err := removeTree(dir, "c"); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

// The accident this is about: a user's root file system is mounted below the
// directory. Nothing may be removed, neither of it nor beside it.
func TestRemoveTreeRefusesMounts(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		dir := t.TempDir()
		user := filepath.Join(dir, "user", "file")
		write(t, user)
		write(t, filepath.Join(dir, "c", "state"))
		merged := filepath.Join(dir, "c", "merged")
		if err := os.Mkdir(merged, 0o700); err != nil {
			t.Error(err)
		}
		if err := unix.Mount(filepath.Dir(user), merged, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		defer unix.Unmount(merged, unix.MNT_DETACH)
		err := removeTree(dir, "c")
		if err == nil || !strings.Contains(err.Error(), "is mounted below it") {
			t.Errorf("got %v", err)
		}
		if !exists(user) || !exists(filepath.Join(dir, "c", "state")) {
			t.Error("something was removed")
		}
	})
}

// The second wall: should a mount appear after the check, the walk does not
// enter it.
func TestWalkDoesNotEnterMounts(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		dir := t.TempDir()
		user := filepath.Join(dir, "user", "file")
		write(t, user)
		merged := filepath.Join(dir, "c", "merged")
		if err := os.MkdirAll(merged, 0o700); err != nil {
			t.Error(err)
		}
		if err := unix.Mount(filepath.Dir(user), merged, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		defer unix.Unmount(merged, unix.MNT_DETACH)
		top, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(top)
		r := remover{top: top, prefix: "x"}
		if err := r.remove(top, "c", 0); err == nil {
			t.Error("removed through a mount")
		}
		if !exists(user) {
			t.Error("the user's file is gone")
		}
	})
}

func TestDiskUsage(t *testing.T) {
	ownMounts(t, func(t *testing.T) {
		dir := t.TempDir()
		const size = 64 << 10
		fill := func(path string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o600)); err != nil {
				t.Error(err)
			}
		}
		fill(filepath.Join(dir, "a", "file"))
		if err := os.Link(filepath.Join(dir, "a", "file"), filepath.Join(dir, "a", "link")); err != nil {
			t.Error(err)
		}
		once := DiskUsage(dir)
		if once < size || once >= 2*size {
			t.Errorf("a file of %d bytes with two names counts %d", size, once)
		}
		// Another file system's file, and what is behind it in its directory.
		other := filepath.Join(dir, "other")
		if err := os.Mkdir(other, 0o755); err != nil {
			t.Error(err)
		}
		if err := unix.Mount("tmpfs", other, "tmpfs", 0, ""); err != nil {
			t.Error(err)
			return
		}
		defer unix.Unmount(other, unix.MNT_DETACH)
		fill(filepath.Join(other, "elsewhere"))
		bound := filepath.Join(dir, "a", "bound")
		if err := os.WriteFile(bound, nil, 0o600); err != nil {
			t.Error(err)
		}
		if err := unix.Mount(filepath.Join(other, "elsewhere"), bound, "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		defer unix.Unmount(bound, unix.MNT_DETACH)
		fill(filepath.Join(dir, "a", "zzz"))
		if got := DiskUsage(dir); got < once+size || got >= once+2*size {
			t.Errorf("two files count %d, one %d", got, once)
		}
		if got := DiskUsage(filepath.Join(dir, "nothing")); got != 0 {
			t.Errorf("nothing counts %d", got)
		}
	})
}
