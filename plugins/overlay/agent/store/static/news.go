package static

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// news tells when the file of a path may have become another one. Editors and
// configuration management replace files, and where the path leads over symbolic
// links (Kubernetes swaps one for all files of a ConfigMap) the links, so every
// directory is watched in which one of these names is.
type news struct {
	file *os.File
	came chan struct{}
}

// changes of a directory: inotify(7). What is only created is not complete yet; a
// link that is made in its place is found by looking again.
const changes = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ONLYDIR

// openNews ends with the context. News that come together are one.
func openNews(ctx context.Context) (*news, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify") // non-blocking: Close ends a Read
	n := &news{file: file, came: make(chan struct{}, 1)}
	context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := file.Read(buffer); err != nil {
				return
			}
			select {
			case n.came <- struct{}{}:
			default:
			}
		}
	}()
	return n, nil
}

// follow watches the directories that the path leads over now. One that is
// watched already stays so; of one that is gone the kernel lets go by itself. Of
// the directories only that of the path itself must be there.
func (n *news) follow(path string) error {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	for i, dir := range directories(path) {
		var err error
		if ended := raw.Control(func(fd uintptr) { _, err = unix.InotifyAddWatch(int(fd), dir, changes) }); ended != nil {
			return ended
		}
		if err != nil && (i == 0 || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR)) {
			return fmt.Errorf("inotify: %s: %w", dir, err)
		}
	}
	return nil
}

// mostLinks is how many symbolic links the kernel follows in one path
// (path_resolution(7)).
const mostLinks = 40

// directories are those with the file's name and with the names of the symbolic
// links on the way to it. The path's own is the first.
func directories(path string) []string {
	dirs, links := []string{filepath.Dir(path)}, 0
	done, rest := "", path // done ends without a slash
	if !filepath.IsAbs(path) {
		done = "."
	}
	for rest != "" && links < mostLinks {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		here := done + "/" + name
		target, err := os.Readlink(here)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return append(dirs, filepath.Dir(here))
		case err != nil: // no link
			done = here
		default:
			links++
			dirs = append(dirs, filepath.Dir(here))
			if rest = strings.TrimSuffix(target+"/"+rest, "/"); filepath.IsAbs(target) {
				done = ""
			}
		}
	}
	return append(dirs, filepath.Dir(done))
}
