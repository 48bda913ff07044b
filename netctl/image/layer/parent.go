package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// parentCache keeps the directory of the last entry open: archives list a
// directory's files one after the other. It has to be emptied whenever
// something is removed, because a name may then lead elsewhere.
type parentCache struct {
	name string
	dir  *os.File
}

func (c *parentCache) close() {
	if c.dir != nil {
		c.dir.Close()
		c.dir = nil
	}
}

// parent opens the directory dir of the layer; a missing one is made, as
// archivers may leave out what has the usual owner and mode.
func (u *unpacker) parent(dir string) (*os.File, error) {
	if u.parents.dir != nil && u.parents.name == dir {
		return u.parents.dir, nil
	}
	u.parents.close()
	f, err := u.openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.count(1 + strings.Count(dir, "/")); err != nil {
			return nil, err
		}
		if err = u.root.MkdirAll(dir, 0o755); err == nil {
			f, err = u.openDir(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("directory %q: %w", dir, reason(err))
	}
	u.parents = parentCache{dir, f}
	return f, nil
}

func (u *unpacker) openDir(dir string) (*os.File, error) {
	return u.root.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
}

// reason leaves out what a PathError repeats.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// A vacancy is what place found at a name.
type vacancy int

const (
	free     vacancy = iota // nothing is there now
	keptDir                 // the directory is there already
	unhidden                // a whiteout was there: it hid what the layers below have
)

// place makes room for an entry: what an earlier entry of this layer put there
// is replaced, but a directory is kept for a directory.
func (u *unpacker) place(dir *os.File, parent, base string, isDir bool) (vacancy, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return free, nil
	case err != nil:
		return free, err
	case isWhiteout(&st):
		return unhidden, unix.Unlinkat(int(dir.Fd()), base, 0)
	case isDir && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return keptDir, nil
	}
	u.parents.close()
	return free, reason(u.root.RemoveAll(join(parent, base)))
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
