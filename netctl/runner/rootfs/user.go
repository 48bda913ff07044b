package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner/spec"
)

// maxUserFile bounds what is read of a passwd or group file.
const maxUserFile = 4 << 20

// LookupUser resolves UID, UID:GID, name or name:group with the passwd and
// group files below root. The empty name is root.
func LookupUser(root, name string) (spec.User, error) {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return spec.User{}, fmt.Errorf("look up user: %w", err)
	}
	defer dir.Close()
	passwd, err := readBelow(dir, "etc/passwd")
	if err != nil {
		return spec.User{}, err
	}
	group, err := readBelow(dir, "etc/group")
	if err != nil {
		return spec.User{}, err
	}
	u, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return spec.User{}, fmt.Errorf("user %q: %w", name, err)
	}
	out := spec.User{UID: uint32(u.Uid), GID: uint32(u.Gid), Home: u.Home}
	for _, g := range u.Sgids {
		out.Groups = append(out.Groups, uint32(g))
	}
	if out.Home == "" {
		out.Home = "/"
	}
	return out, nil
}

// readBelow reads a small regular file below dir; one that is missing is empty.
// Links are resolved as if dir were /, and opening cannot hang on a FIFO.
func readBelow(dir *os.File, path string) (string, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	name := filepath.Join("/", path)
	if err != nil {
		return "", fmt.Errorf("container's %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return "", err
	} else if !st.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	return string(b), err
}
