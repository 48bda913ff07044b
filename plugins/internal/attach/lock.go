package attach

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a flock on a file, shared or exclusive, and returns the function
// that gives it back. Closing is enough: the kernel drops the lock with the
// last descriptor, also when the process is killed.
func lock(path string, how int) (func(), error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
