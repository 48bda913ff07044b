package dnsd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/dnsd/watch"
)

// awaitOther waits until the resolver that has the claim answers, or has ended
// after all. As a rule it answers already; but somebody may have removed its
// socket a moment ago, or it was killed and is not yet gone.
func awaitOther(ctx context.Context, stateDir string) (answers bool, err error) {
	w, err := watch.New(stateDir)
	if err != nil {
		return false, err
	}
	defer w.Close() //nolint:errcheck // only read
	ended := make(chan error, 1)
	go func() { ended <- awaitEnd(stateDir) }()
	changed := make(chan error)
	go forwardEvents(ctx, w, changed)
	for {
		conn, derr := net.Dial("unix", client.Socket(stateDir))
		if derr == nil {
			return true, conn.Close()
		}
		select {
		case err = <-changed:
		case err = <-ended:
			return false, err
		case <-ctx.Done():
			err = fmt.Errorf("another dnsd has the lock of %s but does not answer: %w", stateDir, derr)
		}
		if err != nil {
			return false, err
		}
	}
}

// forwardEvents tells of each event with nil, and of the end with an error.
func forwardEvents(ctx context.Context, w *watch.Watcher, to chan<- error) {
	for {
		_, err := w.Next()
		select {
		case to <- err:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// awaitEnd returns when nobody has the claim of a directory. Nothing makes it
// return before; the goroutine that waits here ends with the process.
func awaitEnd(stateDir string) error {
	file, err := os.Open(filepath.Join(stateDir, "dnsd.lock"))
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	defer file.Close() //nolint:errcheck // gives the lock back
	return waitByte(file, byteAlive)
}

// waitByte waits until nobody has an exclusive lock on a byte.
func waitByte(file *os.File, at int64) error {
	return retry(func() error {
		return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1})
	})
}
