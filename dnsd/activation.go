package dnsd

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// firstInherited is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstInherited = 3

// inherited is the control socket if systemd has opened it for us, or nil. It
// must be the one that clients look for.
func inherited(path string) (*net.UnixListener, error) {
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err != nil || pid != os.Getpid() || os.Getenv("LISTEN_FDS") == "0" {
		return nil, nil
	}
	file := os.NewFile(firstInherited, "control socket")
	defer file.Close() //nolint:errcheck // the listener has its own
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("socket from systemd: %w", err)
	}
	unix, ok := l.(*net.UnixListener)
	if !ok || unix.Addr().String() != path {
		l.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("socket from systemd: it is %s, and clients look for %s", l.Addr(), path)
	}
	unix.SetUnlinkOnClose(false)
	return unix, nil
}
