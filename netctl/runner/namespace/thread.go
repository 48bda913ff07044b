// Package namespace makes, binds and enters Linux namespaces on threads that
// are thrown away afterwards.
//
// A namespace belongs to a thread, and Go moves goroutines between threads.
// So everything here runs in a fresh goroutine locked to its thread and never
// unlocked: the Go runtime ends such a thread with its goroutine, and no other
// code ever runs on a thread that was somewhere else. The process's first
// thread is avoided, because /proc/self shows *its* namespaces for the whole
// process and because it cannot end before the process does.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread of its own and throws the thread away.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine waits here it occupies the first thread, so
			// that the next one gets another.
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// InMount runs f on a thread inside the mount namespace that mnt refers to.
// Paths given to f's system calls are those of that namespace; f must not start
// goroutines or processes. A nil mnt means where the caller is.
func InMount(mnt *os.File, f func() error) error {
	if mnt == nil {
		return f()
	}
	return onThread(func() error {
		// setns(2): a thread that shares root and working directory with
		// others may not change its mount namespace.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare file system attributes: %w", err)
		}
		if err := unix.Setns(int(mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter mount namespace: %w", err)
		}
		return f()
	})
}

// InCopy runs f on a thread inside a private copy of the mount namespace that mnt
// refers to, where no device can be opened. The same holds for f as for InMount's.
func InCopy(mnt *os.File, f func() error) error {
	return InMount(mnt, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("copy mount namespace: %w", err)
		}
		if err := withoutDevices("/"); err != nil {
			return err
		}
		return f()
	})
}

// withoutDevices makes all device nodes at and below root refuse to be opened, in
// the thread's mount namespace, and cuts its mounts off from where they came from.
// A container may make nodes of any device: it is its cgroup that keeps it from
// opening them, and our own threads are not in that. Linux before 5.12 has no
// call for it, and goes without.
func withoutDevices(root string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_SLAVE}
	err := unix.MountSetattr(unix.AT_FDCWD, root, unix.AT_RECURSIVE, &attr)
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("keep devices of %s shut: %w", root, err)
	}
	return nil
}

// InRoot runs f on a thread with a private copy of the mount namespace, after
// mount has put a root file system at root, and with that as its /: no link in it
// leads out, whatever f follows, and no device in it can be opened. The mounts are
// gone afterwards. The same holds for f as for InMount's.
func InRoot(root string, mount, f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := mount(); err != nil {
			return err
		}
		if err := withoutDevices(root); err != nil {
			return err
		}
		if err := unix.Chroot(root); err != nil {
			return fmt.Errorf("enter %s: %w", root, err)
		}
		if err := unix.Chdir("/"); err != nil {
			return err
		}
		return f()
	})
}

// OpenMount opens the caller's own mount namespace, to be used with InMount.
func OpenMount() (*os.File, error) { return os.Open("/proc/thread-self/ns/mnt") }
