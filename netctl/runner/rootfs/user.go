package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner/spec"
)

// maxUserFile bounds what is read of a passwd or group file.
const maxUserFile = 4 << 20

// LookupUser resolves UID, UID:GID, name or name:group with the passwd and
// group files below root, and further groups by number or name. The empty name is
// root.
func LookupUser(root, name string, groups []string) (spec.User, error) {
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
	more, err := user.GetAdditionalGroups(groups, strings.NewReader(group))
	if err != nil {
		return spec.User{}, fmt.Errorf("--group-add: %w", err)
	}
	slices.Sort(more) // they come in any order
	for _, g := range slices.Concat(u.Sgids, more) {
		out.Groups = append(out.Groups, uint32(g))
	}
	if out.Home == "" {
		out.Home = "/"
	}
	return out, nil
}

// readBelow reads a small regular file below dir; one that is missing is empty.
// Links are resolved as if dir were /. The file is looked at before it is opened:
// opening a FIFO waits, and opening a device does something, to a watchdog for
// instance, that the container itself is not allowed to.
func readBelow(dir *os.File, path string) (string, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	name := filepath.Join("/", path)
	if err != nil {
		return "", fmt.Errorf("container's %s: %w", name, err)
	}
	found := os.NewFile(uintptr(fd), name)
	defer found.Close()
	if st, err := found.Stat(); err != nil {
		return "", err
	} else if !st.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) // the same file, whatever its name leads to by now
	if err != nil {
		return "", fmt.Errorf("container's %s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	return string(b), err
}
