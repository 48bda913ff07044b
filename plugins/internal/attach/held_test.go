package attach

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What is held stays open when its owner closes it, until all are closed, and no
// more than may be open at the same time are.
func TestHeld(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	var h held
	for range heldMost - 1 {
		h.keep(write.Fd())
	}
	write.Close()
	if hungUp(t, read) {
		t.Error("what is held was closed with its owner's descriptor")
	}
	h.keep(uintptr(h.sockets[0]))
	if len(h.sockets) != 0 || !hungUp(t, read) {
		t.Errorf("%d are held after %d, want all to be closed", len(h.sockets), heldMost)
	}
	h.close() // of nothing
}

func hungUp(t *testing.T, pipe *os.File) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(pipe.Fd())}}
	if _, err := unix.Poll(fds, 0); err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents&unix.POLLHUP != 0
}
