package dnsd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// A claim is the right to be the resolver of a state directory. The lock file
// has two bytes that matter:
//
//	byte 0  held by whoever is about to become, or to cease to be, the resolver
//	byte 1  held by the resolver as long as it lives
//
// A process that starts waits for byte 0, which is to wait until another one
// that is starting is ready, or one that is ending has ended. If byte 1 is
// taken then, somebody is ready. The locks are the kernel's (open file
// description locks), so a killed resolver leaves nothing behind.
type claim struct {
	path string

	mu    sync.Mutex
	file  *os.File
	ended bool
}

const (
	byteChange = 0
	byteAlive  = 1
)

// errRunning means that another process is the resolver, and ready.
var errRunning = errors.New("another dnsd serves this directory")

func claimDir(stateDir string) (*claim, error) {
	c := &claim{path: filepath.Join(stateDir, "dnsd.lock")}
	file, err := acquire(c.path)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", stateDir, err)
	}
	c.file = file
	return c, nil
}

// acquire takes both locks. The file may be removed by one who ends just when
// we have opened it; a lock on it is then worth nothing.
func acquire(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := lockByte(file, byteChange, unix.F_OFD_SETLKW); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if !stillAt(file, path) {
			file.Close() //nolint:errcheck // of no use
			continue
		}
		err = lockByte(file, byteAlive, unix.F_OFD_SETLK)
		if err == nil {
			return file, nil
		}
		file.Close() //nolint:errcheck // of no use
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = errRunning
		}
		return nil, err
	}
}

// ready lets others know that we answer.
func (c *claim) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return unlockByte(c.file, byteChange)
}

// leave keeps others from starting until we are gone.
func (c *claim) leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return lockByte(c.file, byteChange, unix.F_OFD_SETLKW)
}

// gone gives the claim up.
func (c *claim) gone() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if stillAt(c.file, c.path) {
		if err := os.Remove(c.path); err != nil {
			return errors.Join(err, c.file.Close())
		}
	}
	return c.file.Close()
}

// renew claims the directory again after somebody removed the lock file.
func (c *claim) renew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || stillAt(c.file, c.path) {
		return nil
	}
	file, err := acquire(c.path)
	if err != nil {
		return fmt.Errorf("the lock file was removed: %w", err)
	}
	c.file.Close() //nolint:errcheck // its lock is worth nothing any more
	c.file = file
	return unlockByte(file, byteChange)
}

func lockByte(file *os.File, at int64, how int) error {
	return retry(func() error {
		return unix.FcntlFlock(file.Fd(), how, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1})
	})
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func unlockByte(file *os.File, at int64) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart, Start: at, Len: 1})
}

// stillAt tells whether the path leads to the open file.
func stillAt(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
