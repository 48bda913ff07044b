package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// top applies the owner and mode of the layer's root directory.
func (u *unpacker) top(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root is not a directory")
	}
	dir, err := u.parent(".")
	if err != nil {
		return err
	}
	u.dirTimes = append(u.dirTimes, dirTime{".", h.ModTime})
	return u.setOwner(dir, ".", h)
}

// file writes an entry that is no whiteout.
func (u *unpacker) file(parent, base string, h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock:
		if parent == "dev" || len(parent) > 4 && parent[:4] == "dev/" {
			return nil
		}
		return fmt.Errorf("a device node (%d, %d) outside of /dev", h.Devmajor, h.Devminor)
	}
	dir, err := u.parent(parent)
	if err != nil {
		return err
	}
	found, err := u.place(dir, parent, base, h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	if dir, err = u.parent(parent); err != nil { // place may have closed it
		return err
	}
	if err := u.create(dir, parent, base, found, h, content); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeLink {
		return nil // the other name has set owner, mode and times
	}
	return u.setOwner(dir, base, h)
}

// create makes the file base in dir, whose name in the layer is parent.
func (u *unpacker) create(dir *os.File, parent, base string, found vacancy, h *tar.Header, content io.Reader) error {
	fd := int(dir.Fd())
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeDir(dir, parent, base, found, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.writeFile(dir, base, h, content)
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return errors.New("a symbolic link to nothing")
		}
		return unix.Symlinkat(h.Linkname, fd, base)
	case tar.TypeLink:
		return u.link(dir, base, h)
	case tar.TypeFifo:
		return unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	}
	return fmt.Errorf("unknown type %q", h.Typeflag)
}

func (u *unpacker) makeDir(dir *os.File, parent, base string, found vacancy, h *tar.Header) error {
	u.dirTimes = append(u.dirTimes, dirTime{join(parent, base), h.ModTime})
	if found == keptDir {
		return nil
	}
	if err := unix.Mkdirat(int(dir.Fd()), base, 0o700); err != nil {
		return err
	}
	if found == unhidden {
		return setAttribute(dir, base, opaqueAttribute, []byte("y"))
	}
	return nil
}

// writeFile checks the size the entry claims before a byte is written, and a
// tar.Reader never gives more than that.
func (u *unpacker) writeFile(dir *os.File, base string, h *tar.Header, content io.Reader) error {
	if h.Size < 0 || h.Size > u.limits.Bytes-u.bytes {
		return fmt.Errorf("%d bytes more than the %d before it: %w of %d bytes", h.Size, u.bytes, ErrLimit, u.limits.Bytes)
	}
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	n, err := io.Copy(f, content)
	u.bytes += n
	return errors.Join(err, f.Close())
}

// link makes a second name for a file of this layer.
func (u *unpacker) link(dir *os.File, base string, h *tar.Header) error {
	target, err := u.localName(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	targetDir, targetBase := path.Split(target)
	from, err := u.openDir(path.Clean("./" + targetDir))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, reason(err))
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Fd()), targetBase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	} else if isWhiteout(&st) {
		return fmt.Errorf("hard link to %q, which is deleted", h.Linkname)
	}
	// Without AT_SYMLINK_FOLLOW a symbolic link is linked, not followed.
	if err := unix.Linkat(int(from.Fd()), targetBase, int(dir.Fd()), base, 0); err != nil {
		return fmt.Errorf("hard link to %q: %w", h.Linkname, err)
	}
	return nil
}

// setOwner sets owner, attributes, mode and times, in this order: a change of
// owner clears set-user-ID and capabilities.
func (u *unpacker) setOwner(dir *os.File, base string, h *tar.Header) error {
	fd := int(dir.Fd())
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-2 || int64(h.Gid) > 1<<32-2 {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	if err := unix.Fchownat(fd, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("owner %d:%d: %w", h.Uid, h.Gid, err)
	}
	if err := setAttributes(dir, base, h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		return setTimes(fd, base, h.ModTime)
	}
	// No entry can have become a link since it was made: nobody else writes
	// here. Fchmodat has no NOFOLLOW before Linux 6.6.
	if err := unix.Fchmodat(fd, base, uint32(h.Mode)&0o7777, 0); err != nil {
		return fmt.Errorf("mode %o: %w", h.Mode, err)
	}
	return setTimes(fd, base, h.ModTime)
}

func setTimes(dir int, base string, at time.Time) error {
	if at.Unix() < 0 || at.Unix() > 1<<33 {
		at = time.Unix(0, 0)
	}
	ts, err := unix.TimeToTimespec(at)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// setDirTime sets a directory's time, if it still is one.
func (u *unpacker) setDirTime(d dirTime) error {
	st, err := u.root.Lstat(d.name)
	if err != nil || !st.IsDir() {
		return nil // replaced by a later entry
	}
	dir, err := u.openDir(d.name)
	if err != nil {
		return reason(err)
	}
	defer dir.Close()
	return setTimes(int(dir.Fd()), ".", d.at)
}
