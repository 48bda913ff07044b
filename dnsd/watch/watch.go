// Package watch tells of changes in directories, through inotify. A file that
// is replaced by rename is only seen by who watches its directory.
package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Op is what happened, a set of bits.
type Op uint32

// The operations.
const (
	// Removed: the name is gone from the directory.
	Removed Op = unix.IN_DELETE | unix.IN_MOVED_FROM
	// Appeared: the name is new, or is another file now.
	Appeared Op = unix.IN_CREATE | unix.IN_MOVED_TO
	// Written: the file has new content.
	Written Op = unix.IN_MODIFY | unix.IN_CLOSE_WRITE
	// DirGone: the directory itself is gone. There will be no more events.
	DirGone Op = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	// Overflow: events were lost; anything may have happened.
	Overflow Op = unix.IN_Q_OVERFLOW
)

// An Event is a change to a file in a directory.
type Event struct {
	Dir  string
	Name string
	Op   Op
}

// Has tells whether the event is one of some operations.
func (e Event) Has(op Op) bool { return e.Op&op != 0 }

// A Watcher watches directories.
type Watcher struct {
	file *os.File
	dirs map[int32]string
	buf  [4096]byte
	left []byte
}

// New makes a watcher of directories.
func New(dirs ...string) (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch: inotify_init: %w", err)
	}
	w := &Watcher{file: os.NewFile(uintptr(fd), "inotify"), dirs: make(map[int32]string)}
	for _, dir := range dirs {
		wd, err := unix.InotifyAddWatch(fd, dir, uint32(Removed|Appeared|Written|DirGone)|unix.IN_ONLYDIR)
		if err != nil {
			w.Close()
			return nil, fmt.Errorf("watch %s: %w", dir, err)
		}
		w.dirs[int32(wd)] = dir
	}
	return w, nil
}

// Close ends the watch, and a call of Next that waits.
func (w *Watcher) Close() error { return w.file.Close() }

// Next waits for the next event.
func (w *Watcher) Next() (Event, error) {
	for {
		if len(w.left) == 0 {
			n, err := w.file.Read(w.buf[:])
			if err != nil {
				return Event{}, fmt.Errorf("watch: %w", err)
			}
			w.left = w.buf[:n]
		}
		if e, ok := w.parse(); ok {
			return e, nil
		}
	}
}

// inotifyHeader is the length of struct inotify_event without its name.
const inotifyHeader = int(unsafe.Sizeof(unix.InotifyEvent{}))

// parse takes the first event off the buffer. The kernel writes whole events
// in the byte order of the machine, and tells of an ended watch (IN_IGNORED),
// which is nobody's business.
func (w *Watcher) parse() (Event, bool) {
	b := w.left
	if len(b) < inotifyHeader {
		w.left = nil
		return Event{}, false
	}
	wd := int32(binary.NativeEndian.Uint32(b))
	mask := binary.NativeEndian.Uint32(b[4:])
	end := min(inotifyHeader+int(binary.NativeEndian.Uint32(b[12:])), len(b))
	name := string(bytes.TrimRight(b[inotifyHeader:end], "\x00"))
	w.left = b[end:]
	return Event{Dir: w.dirs[wd], Name: name, Op: Op(mask)}, mask&unix.IN_IGNORED == 0
}
