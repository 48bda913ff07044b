package attach

import "golang.org/x/sys/unix"

// held are sockets to the packet filter of many removals, to be closed together.
//
// Whoever closes such a socket soon after a deletion waits until the kernel has
// freed what was deleted (some 10 ms; see firewall.Park), and holds the lock of the
// packet filter meanwhile, so that a child that does it is in the way of the next
// removal. But the first one to be closed waits for all that was deleted until
// then, and the rest for nothing.
type held struct{ sockets []int }

// heldMost bounds the descriptors that are open at the same time.
const heldMost = 128

// keep is a firewall.Park.
func (h *held) keep(fd uintptr) {
	if socket, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err == nil {
		h.sockets = append(h.sockets, socket)
	}
	if len(h.sockets) >= heldMost {
		h.close()
	}
}

func (h *held) close() {
	for _, socket := range h.sockets {
		_ = unix.Close(socket)
	}
	h.sockets = nil
}
