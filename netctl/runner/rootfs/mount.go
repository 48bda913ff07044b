// Package rootfs makes a container's root file system out of host directories
// and looks into it safely. The directories are hostile ground: nothing here
// follows a link out of them.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// Overlay is a writable view of read-only directories.
type Overlay struct {
	Lower []string // topmost first
	// Work is where the container's own changes are kept (below upper).
	Work string
	// Merged is the mount point.
	Merged string
	// Discard: the changes need not outlive the mount. The kernel then does
	// not sync the whole file system of Work when it unmounts, which on a busy
	// disk takes seconds.
	Discard bool
	// Users is the user namespace by which the ids of Lower are seen, IDs what
	// it maps; nil means as they are. The upper layer is not mapped: the kernel
	// refuses to write to such a one, so in it are the ids of the host.
	Users *os.File
	IDs   user.IdentityMapping
}

// SeenBy is the overlay as users of another namespace see it.
func (o Overlay) SeenBy(users *os.File, ids user.IdentityMapping) Overlay {
	o.Users, o.IDs = users, ids
	return o
}

// Mount mounts the overlay in the caller's mount namespace. If the file system
// of Work cannot hold the upper layer (another overlay, NFS, FAT), a tmpfs takes
// its place; volatile is then true and the changes end with the mount.
func (o Overlay) Mount() (volatile bool, err error) {
	for _, d := range o.Lower {
		if st, err := os.Stat(d); err != nil {
			return false, fmt.Errorf("root file system: %w", err)
		} else if !st.IsDir() {
			return false, fmt.Errorf("root file system %s is not a directory", d)
		}
	}
	if err := os.MkdirAll(o.Merged, 0o755); err != nil {
		return false, err
	}
	// Users of another namespace pass through it, whatever our umask was.
	if err := os.Chmod(o.Merged, 0o755); err != nil {
		return false, err
	}
	if err := os.MkdirAll(o.Work, 0o700); err != nil {
		return false, err
	}
	if o.Users != nil {
		if err := checkSearchable(o.Merged); err != nil {
			return false, err
		}
	}
	err = o.mount()
	if errors.Is(err, unix.EINVAL) && o.Discard { // before Linux 5.10
		o.Discard = false
		err = o.mount()
	}
	if !errors.Is(err, unix.EINVAL) {
		return false, err
	}
	if err := unix.Mount("tmpfs", o.Work, "tmpfs", unix.MS_NODEV, "mode=711"); err != nil {
		return false, fmt.Errorf("mount tmpfs at %s: %w", o.Work, err)
	}
	return true, o.mount()
}

func (o Overlay) mount() error {
	upper, work := filepath.Join(o.Work, "upper"), filepath.Join(o.Work, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	if err := o.makeUpper(upper); err != nil {
		return err
	}
	lower, release, err := o.lowerPaths()
	if err != nil {
		return err
	}
	defer release()
	if o.Discard {
		// A volatile mount leaves a mark that keeps the kernel from mounting the same
		// changes again: they may not have been on the disk when the machine went
		// down. Those of a container that is started again (restart of --rm) have not
		// lived through that.
		if err := os.RemoveAll(filepath.Join(work, "work", "incompat")); err != nil {
			return err
		}
	}
	rest := fmt.Sprintf(",upperdir=%s,workdir=%s", escape(upper), escape(work))
	if o.Discard {
		rest += ",volatile"
	}
	options := "lowerdir=" + strings.Join(lower, ":") + rest
	if len(options) > maxOptions && o.Users == nil {
		short, release, err := shortPaths(o.Lower)
		if err != nil {
			return err
		}
		defer release()
		options = "lowerdir=" + strings.Join(short, ":") + rest
	}
	if err := unix.Mount("overlay", o.Merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay of %s: %w", strings.Join(o.Lower, ", "), err)
	}
	return nil
}

// lowerPaths are the names of the lower layers until release.
func (o Overlay) lowerPaths() (names []string, release func(), err error) {
	if o.Users != nil {
		return mappedPaths(o.Lower, o.Users, filepath.Join(filepath.Dir(o.Work), "lower"))
	}
	for _, d := range o.Lower {
		names = append(names, escape(d))
	}
	return names, func() {}, nil
}

// maxOptions is what mount(2) copies from the user: a page, with its end.
const maxOptions = 4095

// shortPaths gives directories names that fit into one mount's options however
// many they are: those of open descriptors.
func shortPaths(dirs []string) (names []string, release func(), err error) {
	var open []*os.File
	release = func() {
		for _, f := range open {
			f.Close()
		}
	}
	for _, d := range dirs {
		f, err := os.OpenFile(d, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("root file system: %w", err)
		}
		open = append(open, f)
		names = append(names, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	return names, release, nil
}

// makeUpper makes the upper directory. It becomes the container's /, so it has
// the owner and mode of the lower one.
func (o Overlay) makeUpper(upper string) error {
	err := os.Mkdir(upper, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil // a restart: the container's own
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(o.Lower[0], &st); err != nil {
		return fmt.Errorf("root file system %s: %w", o.Lower[0], err)
	}
	uid, gid, err := o.IDs.ToHost(int(st.Uid), int(st.Gid))
	if err != nil {
		return fmt.Errorf("owner of root file system %s: %w", o.Lower[0], err)
	}
	if err := os.Chown(upper, uid, gid); err != nil {
		return err
	}
	return unix.Chmod(upper, st.Mode&0o7777)
}

// escape keeps a path from being taken apart by overlayfs, which separates
// options by commas and layers by colons.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(path)
}

// Unmount takes the overlay, and a tmpfs below it, away again.
func (o Overlay) Unmount() error {
	var errs []error
	for _, at := range []string{o.Merged, o.Work} {
		err := unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}

// Hidden returns where the given host directories can be seen inside a root
// file system made of lower, so that they can be masked.
func Hidden(lower []string, dirs ...string) []string {
	var out []string
	for _, l := range lower {
		for _, d := range dirs {
			if rel, err := filepath.Rel(realPath(l), realPath(d)); err == nil && filepath.IsLocal(rel) {
				out = append(out, filepath.Join("/", rel))
			}
		}
	}
	return out
}

// realPath resolves links; a path that does not exist stays as it is.
func realPath(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Clean(p)
}
