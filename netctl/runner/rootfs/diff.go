package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ChangeKind is a letter of docker's diff.
type ChangeKind string

const (
	Added   ChangeKind = "A"
	Changed ChangeKind = "C"
	Deleted ChangeKind = "D"
)

// FileChange is one path, as the container sees it, that differs from the image.
type FileChange struct {
	Kind ChangeKind
	Path string
}

// Diff lists what the upper layer of an overlay changes in the lower ones, the
// topmost of which comes first. The kernel writes a deletion as a character device 0/0
// and a directory that hides what is below with the attribute
// trusted.overlay.opaque (Documentation/filesystems/overlayfs.rst).
func Diff(upper string, lower []string) ([]FileChange, error) {
	var layers []*os.File
	defer func() {
		for _, l := range layers {
			l.Close()
		}
	}()
	for _, dir := range lower {
		f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("diff: %w", err)
		}
		layers = append(layers, f)
	}
	var changes []FileChange
	err := filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a running container comes and goes
		}
		rel, relErr := filepath.Rel(upper, path)
		if err = errors.Join(err, relErr); err != nil || rel == "." {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // likewise
		}
		if err != nil {
			return err
		}
		kind := Added
		switch {
		case isWhiteout(info):
			kind = Deleted
		case exists(layers, rel):
			kind = Changed
		}
		changes = append(changes, FileChange{kind, "/" + rel})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return changes, err
}

func isWhiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// exists looks through the layers from the top; a deletion hides what is below.
func exists(layers []*os.File, rel string) bool {
	for _, l := range layers {
		fd, err := unix.Openat2(int(l.Fd()), rel, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS,
		})
		if err != nil {
			continue
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil {
			return st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0
		}
	}
	return false
}
