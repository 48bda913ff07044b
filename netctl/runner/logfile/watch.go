package logfile

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// watch tells when something in a directory changed. One pending notice is
// enough: the reader always reads to the end.
type watch struct {
	file    *os.File
	changed chan error
}

func watchDir(path string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), events); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch %s: %w", filepath.Dir(path), err)
	}
	w := &watch{os.NewFile(uintptr(fd), "inotify"), make(chan error, 1)}
	go w.pump()
	return w, nil
}

// pump turns events into notices until the watch is closed.
func (w *watch) pump() {
	buf := make([]byte, 4096)
	for {
		_, err := w.file.Read(buf)
		select {
		case w.changed <- err:
		default: // the reader has not looked at the last notice yet
		}
		if err != nil {
			return
		}
	}
}

func (w *watch) Close() error { return w.file.Close() }
