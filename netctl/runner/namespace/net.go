package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// A bound namespace must be visible to everybody who is given its path: the
// command line, plugins, and monitors, which live in mount namespaces of their
// own that are slaves of the host's. And it must vanish for all of them at
// once, or a monitor's private copy of the mount would keep a dead container's
// namespace and its links alive. Both follow if the mounts lie on a *shared*
// mount; so their directory is bound onto itself and made shared, as `ip netns`
// does with /run/netns. It is unbound again with the last namespace.

// NewNet makes a network namespace and binds it to path, in the mount namespace
// of the caller. A stale file at path is replaced. Safe for concurrent use by
// several processes.
func NewNet(path string) error {
	return bindNew(path, func() error { return onThread(func() error { return newNetAt(path) }) })
}

// NewUserNet makes one that belongs to a new user namespace with these ids.
func NewUserNet(path string, ids user.IdentityMapping) error {
	return bindNew(path, func() error {
		return inUser(ids, unix.CLONE_NEWNET, func(proc string) error { return bindAt(proc+"/ns/net", path) })
	})
}

func bindNew(path string, make func() error) error {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if err := shareDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := unbind(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("create network namespace: %w", err)
	}
	f.Close()
	if err := make(); err != nil {
		return errors.Join(fmt.Errorf("create network namespace: %w", err), os.Remove(path))
	}
	return nil
}

func newNetAt(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return bindAt("/proc/thread-self/ns/net", path)
}

func bindAt(ns, path string) error {
	if err := unix.Mount(ns, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind to %s: %w", path, err)
	}
	return nil
}

// Show has the namespace be seen at path, where the host has it bound, in the
// caller's mount namespace. If that was copied before there was a namespace, the
// directory was not shared yet, and the mount has not come to it. What is mounted
// here then goes as the host's does: with its file.
func Show(ns *os.File, path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	if st.Type == unix.NSFS_MAGIC {
		return nil
	}
	return bindAt(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path)
}

// RemoveNet unbinds the namespace at path; it may be repeated. The kernel takes
// the namespace away with its last process, and the links in it with it.
func RemoveNet(path string) error {
	dir := filepath.Dir(path)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := unbind(path); err != nil {
		return err
	}
	return unshareDir(dir)
}

func unbind(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unbind network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// lockDir excludes other processes that add to or take from dir. The lock file
// lies beside it, since dir itself comes and goes.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// shareDir makes dir a shared mount point.
func shareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	err := unix.Mount("", dir, "", unix.MS_SHARED, "")
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EINVAL) { // EINVAL: not a mount point
		return fmt.Errorf("share %s: %w", dir, err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", dir, err)
	}
	// Private first: bound on a shared parent, the new mount would be in the
	// parent's peer group.
	for _, flag := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", dir, "", flag, ""); err != nil {
			return errors.Join(fmt.Errorf("share %s: %w", dir, err), unix.Unmount(dir, 0))
		}
	}
	return nil
}

// unshareDir undoes shareDir if dir is empty. It may be gone: who took the last
// namespace away held the lock before us.
func unshareDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || len(entries) > 0 {
		return err
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unbind %s: %w", dir, err)
	}
	return os.Remove(dir)
}

// InNet runs f on a thread inside the network namespace bound at path; "" is
// the caller's own. Sockets that f opens stay in that namespace. f must not
// start goroutines that open any.
func InNet(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return f()
	})
}
