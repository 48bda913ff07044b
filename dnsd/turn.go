package dnsd

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A turnTaker lets questions go first while a change is taken in. On one
// processor a goroutine that never waits keeps all others waiting: Go looks for
// packets when it has nothing else to do. A change takes about 0.2 ms, and every
// question of that time would wait to its end; with a turn between its steps
// it waits for one step (99th percentile at 100 changes a second: 84 µs in
// place of 380).
type turnTaker struct {
	file *os.File // an eventfd(2)
	raw  syscall.RawConn
}

func newTurnTaker() (*turnTaker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "turns")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &turnTaker{file, raw}, nil
}

// yield returns when everybody has been woken who had a packet before the
// call. It rings a bell and waits to hear it, which makes Go look for what else is
// ready.
func (t *turnTaker) yield() {
	rung := false
	t.raw.Read(func(fd uintptr) bool { //nolint:errcheck // closed: then nobody asks any more
		var count [8]byte
		if rung {
			unix.Read(int(fd), count[:]) //nolint:errcheck // the bell is silent either way
			return true
		}
		rung = true
		count[0] = 1
		_, err := unix.Write(int(fd), count[:])
		return err != nil
	})
	runtime.Gosched() // whoever was woken along with us stands behind us
}

func (t *turnTaker) Close() error { return t.file.Close() }
