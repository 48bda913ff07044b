package namespace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Error(err)
	}
	return st.Ino
}

func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

func mountsBelow(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), " "+dir)
}

func TestNetNamespace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	path := filepath.Join(dir, "one")
	if err := NewNet(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = RemoveNet(path) })
	if !isNamespace(path) || inode(t, path) == inode(t, "/proc/self/ns/net") {
		t.Error("not a namespace of its own")
	}
	for range 2 { // it may be repeated
		if err := RemoveNet(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory: %v", err)
	}
	if n := mountsBelow(t, dir); n != 0 {
		t.Errorf("%d mounts left", n)
	}
}

func TestStaleFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "netns", "one")
	for range 3 {
		if err := NewNet(path); err != nil {
			t.Fatal(err)
		}
	}
	if n := mountsBelow(t, path); n != 1 {
		t.Errorf("%d mounts at %s", n, path)
	}
	if err := RemoveNet(path); err != nil {
		t.Fatal(err)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	const n = 32
	var mu sync.Mutex
	inodes := map[uint64]bool{}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			path := filepath.Join(dir, fmt.Sprint(i))
			if err := NewNet(path); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inodes[inode(t, path)] = true
			mu.Unlock()
			if i%2 == 0 {
				return
			}
			if err := RemoveNet(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i))
		if isNamespace(path) != (i%2 == 0) {
			t.Errorf("%s: namespace %v", path, isNamespace(path))
		}
		if err := RemoveNet(path); err != nil {
			t.Error(err)
		}
	}
	if n := mountsBelow(t, dir); n != 0 {
		t.Errorf("%d mounts left", n)
	}
}

// Two that remove the last namespaces at the same moment both see the directory,
// and the second to get the lock finds it gone.
func TestTheDirectoryWentMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	if err := shareDir(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := unshareDir(dir); err != nil {
			t.Error(err)
		}
	}
	if n := mountsBelow(t, dir); n != 0 {
		t.Errorf("%d mounts left", n)
	}
}

// What the package is for: a namespace made by one process vanishes from the
// mount namespaces of others (monitors), even where the host's mounts are
// private, so that nobody keeps it alive.
func TestRemovalReachesOtherMountNamespaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "netns")
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if err := NewNet(first); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = RemoveNet(first), RemoveNet(second) })
	ask, answer := make(chan string), make(chan bool)
	go func() {
		runtime.LockOSThread()
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""))
		if err != nil {
			t.Error(err)
		}
		answer <- true
		for path := range ask {
			answer <- isNamespace(path)
		}
	}()
	<-answer
	sees := func(path string) bool { ask <- path; return <-answer }
	defer close(ask)
	if !sees(first) {
		t.Error("what was there is not seen")
	}
	if err := NewNet(second); err != nil {
		t.Fatal(err)
	}
	if !sees(second) {
		t.Error("what came later is not seen")
	}
	if err := RemoveNet(first); err != nil {
		t.Fatal(err)
	}
	if sees(first) || !sees(second) {
		t.Error("the removal did not arrive")
	}
}

func TestInMount(t *testing.T) {
	dir := t.TempDir()
	mnt, err := OpenMount()
	if err != nil {
		t.Fatal(err)
	}
	defer mnt.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		if err != nil {
			t.Error(err)
			return
		}
		var inside, outside unix.Statfs_t
		if err := unix.Statfs(dir, &inside); err != nil {
			t.Error(err)
		}
		if err := InMount(mnt, func() error { return unix.Statfs(dir, &outside) }); err != nil {
			t.Error(err)
		}
		if inside.Type == outside.Type {
			t.Error("the same mount inside and outside")
		}
	}()
	<-done
	want := errors.New("mine")
	if err := InMount(mnt, func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// The first thread is never the one that goes elsewhere: /proc/self is its.
func TestFirstThreadStays(t *testing.T) {
	before := inode(t, "/proc/self/ns/net")
	for range 50 {
		err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				t.Error("on the first thread")
			}
			return unix.Unshare(unix.CLONE_NEWNET)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if inode(t, "/proc/self/ns/net") != before {
		t.Error("the process is in another namespace")
	}
}
