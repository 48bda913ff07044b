package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A container's directory holds files that a hostile program made, and while
// the container ran other file systems were mounted below it. A careless
// `rm -r` from inside the monitor's mount namespace once emptied a user's
// root file system through such a mount. Hence three rules: refuse while
// anything is mounted below; never cross into another mount or follow a link;
// and keep the number of open directories bounded, however deep the tree.

// maxDepth bounds the recursion; what lies deeper is moved up first.
const maxDepth = 64

// removeTree deletes parent/name. It is no error if it does not exist.
func removeTree(parent, name string) error {
	if err := refuseMounts(filepath.Join(parent, name)); err != nil {
		return err
	}
	return deleteTree(parent, name)
}

// deleteTree is removeTree after a look for mounts.
func deleteTree(parent, name string) error {
	dir, err := unix.Open(parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: parent, Err: err}
	}
	defer unix.Close(dir)
	r := remover{top: dir, prefix: name + ".deep-"}
	if err := r.remove(dir, name, 0); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(parent, name), err)
	}
	return r.removeMoved()
}

// refuseMounts fails if the calling thread sees a mount at or below one of the
// paths. The table of all mounts is read once, which is what takes the time.
func refuseMounts(paths ...string) error {
	var there []mountinfo.FilterFunc
	for _, path := range paths {
		if path, err := filepath.EvalSymlinks(path); err == nil {
			there = append(there, mountinfo.PrefixFilter(path))
		}
	}
	if len(there) == 0 {
		return nil
	}
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, anyOf(there))
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("not removing %s: %s is mounted below it", strings.Join(paths, ", "), mounts[0].Mountpoint)
	}
	return nil
}

// anyOf keeps what one of the filters keeps.
func anyOf(filters []mountinfo.FilterFunc) mountinfo.FilterFunc {
	return func(i *mountinfo.Info) (skip, stop bool) {
		for _, filter := range filters {
			if skip, _ := filter(i); !skip {
				return false, false
			}
		}
		return true, false
	}
}

type remover struct {
	top    int    // the directory that deep trees are moved to
	prefix string // of their names there
	moved  int
}

// remove deletes name in dir, which is open.
func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if depth == maxDepth {
		r.moved++
		return unix.Renameat(dir, name, r.top, r.prefix+strconv.Itoa(r.moved))
	}
	err = r.empty(dir, name, depth)
	if err == nil {
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // another process deletes the same tree
	}
	return err
}

// empty deletes what is in the directory name of dir.
func (r *remover) empty(dir int, name string, depth int) error {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return &os.PathError{Op: "openat2", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := r.remove(fd, n, depth+1); err != nil {
			return &os.PathError{Op: "remove", Path: name + "/" + n, Err: err}
		}
	}
	return nil
}

// removeMoved deletes the deep trees, which may give rise to further ones.
func (r *remover) removeMoved() error {
	for n := 1; n <= r.moved; n++ {
		name := r.prefix + strconv.Itoa(n)
		if err := r.remove(r.top, name, 0); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
