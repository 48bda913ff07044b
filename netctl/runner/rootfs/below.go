package rootfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenDir opens a directory of a root file system, by its path inside. Links are
// resolved as if root were /.
func OpenDir(root, path string) (*os.File, error) {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// LeaveOutKernel takes what is the kernel's, and no files of a container's, out of
// the thread's mount namespace, which is a private one and has the container's root
// as its /: what a file below /proc and /sys holds has not the size that it says,
// which no archive can be made of (docker's cp has none of them either). The nodes
// of /dev are of use for nobody who asks for the whole root.
func LeaveOutKernel(whole bool) error {
	points := []string{"/proc", "/sys"}
	if whole {
		points = append(points, "/dev")
	}
	for _, at := range points {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // no mount point
			return fmt.Errorf("leave out the container's %s: %w", at, err)
		}
	}
	return nil
}

// BindBelow binds a directory of the host over one of a root file system, if that
// is there; seen by users, if there are any.
func BindBelow(root, source, target string, users *os.File) error {
	dir, err := OpenDir(root, target)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if users != nil {
		tree, err := mapped(source, users, unix.AT_RECURSIVE)
		if err != nil {
			return err
		}
		defer tree.Close()
		err = unix.MoveMount(int(tree.Fd()), "", int(dir.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		if err != nil {
			return fmt.Errorf("bind %s to %s: %w", source, target, err)
		}
		return nil
	}
	if err := unix.Mount(source, fmt.Sprintf("/proc/thread-self/fd/%d", dir.Fd()), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	return nil
}
