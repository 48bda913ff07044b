package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mapped is the tree at path as users of another namespace see it: what is the
// host's 0 on disk is 0 in there, and the host's id that it stands for out here
// (mount_setattr(2), MOUNT_ATTR_IDMAP). The tree is attached nowhere.
func mapped(path string, users *os.File, recursive uint) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|recursive)
	if err != nil {
		return nil, fmt.Errorf("map the ids of %s: %w", path, explainMapping(err))
	}
	tree := os.NewFile(uintptr(fd), path)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("map the ids of %s: %w", path, explainMapping(err)), tree.Close())
	}
	return tree, nil
}

func explainMapping(err error) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return errors.New("a user namespace needs Linux 5.19")
	case errors.Is(err, unix.EINVAL): // not wrapped: to the mount of an overlay it means something else
		return errors.New("its file system can't be mapped by this kernel (ext4, xfs and btrfs can, tmpfs since Linux 6.3, overlays and NFS not)")
	}
	return err
}

// checkSearchable: a root that is none out here needs to be let through to its
// files.
func checkSearchable(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if st.Mode()&0o001 == 0 {
			return fmt.Errorf("user namespace: its users can't pass through %s (mode %#o; chmod o+x mends it)", dir, st.Mode().Perm())
		}
		if dir == "/" {
			return nil
		}
	}
}

// mappedPaths gives names to mapped trees of dirs, for as long as it takes to
// mount an overlay of them: kernels before 6.15 refuse trees that are attached
// nowhere. The overlay keeps clones of its own, so at is bare again afterwards and
// no removal ever finds a layer below a container's directory.
func mappedPaths(dirs []string, users *os.File, at string) (names []string, release func(), err error) {
	var trees []*os.File
	release = func() {
		for _, t := range trees {
			_ = unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			t.Close()
		}
		_ = os.Remove(at)
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, nil, err
	}
	for _, d := range dirs {
		tree, err := mapped(d, users, 0)
		if err == nil {
			trees = append(trees, tree)
			err = unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("root file system: %w", err)
		}
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", tree.Fd()))
	}
	return names, release, nil
}
