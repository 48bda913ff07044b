package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// Park keeps a descriptor open whose last closing would take long. It is left
// to the child that deletes the next link (see vanish.go), or else, when the
// Host is closed, to a child of its own. The caller closes its own at once.
func (h *Host) Park(fd uintptr) {
	h.unpark()
	if held, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err == nil {
		h.parked = held
	}
}

// parkTime is how long a child of its own keeps a descriptor: until the parent
// has closed it, which is the parent's next step. Should that come later, only
// time is lost.
const parkTime = 50 * time.Millisecond

// unpark leaves the descriptor to a child.
func (h *Host) unpark() {
	if h.parked == 0 {
		return
	}
	if child, errno := (errand{keep: h.parked, linger: parkTime}).run(); errno == 0 {
		go reap(child)
	}
	h.drop()
}

// drop closes our own copy of the descriptor.
func (h *Host) drop() {
	if h.parked != 0 {
		_ = unix.Close(h.parked)
		h.parked = 0
	}
}
