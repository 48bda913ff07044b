package layer

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// isWhiteout recognises overlayfs's mark for a deleted name. Device nodes of an
// archive are never made, so each one in the directory is ours.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// whiteout hides what the layers below have at dir/hidden.
func (u *unpacker) whiteout(dir, hidden string) error {
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout of nothing")
	}
	if inWhiteout(dir) {
		return errors.New("lies below a whiteout")
	}
	parent, err := u.parent(dir)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstatat(int(parent.Fd()), hidden, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		u.whiteouts = append(u.whiteouts, join(dir, hidden))
		return unix.Mknodat(int(parent.Fd()), hidden, unix.S_IFCHR, 0)
	case err != nil:
		return err
	case isWhiteout(&st):
		return fmt.Errorf("the second whiteout of %q", join(dir, hidden))
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		// It speaks of the layers below: what this one has put here stays, but
		// no longer shows theirs.
		return u.makeOpaque(join(dir, hidden))
	}
	return nil
}

// makeOpaque hides everything that the layers below have in dir.
func (u *unpacker) makeOpaque(dir string) error {
	if inWhiteout(dir) {
		return errors.New("lies below a whiteout")
	}
	d, err := u.parent(dir)
	if err != nil {
		return err
	}
	return setAttribute(d, ".", opaqueAttribute, []byte("y"))
}

// dropHidden removes whiteouts in opaque directories. They hide nothing there,
// and overlayfs, which reads a directory that has nothing below it directly,
// would show them to a program that lists it.
func (u *unpacker) dropHidden() error {
	for _, name := range u.whiteouts {
		dir, base := path.Dir(name), path.Base(name)
		d, err := u.openDir(dir)
		if err != nil {
			continue // replaced by a later entry
		}
		var st unix.Stat_t
		err = unix.Fstatat(int(d.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && isWhiteout(&st) && hasAttribute(d, opaqueAttribute) {
			err = unix.Unlinkat(int(d.Fd()), base, 0)
		}
		d.Close()
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("whiteout of %q: %w", name, err)
		}
	}
	return nil
}
