package handover

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

// ErrNotRunning means that nobody would change a network's file.
var ErrNotRunning = errors.New("overlayd is not running")

// Await returns when the network's file is as it should be, or the context has
// ended. It is woken by the kernel when a file is replaced.
func Await(ctx context.Context, stateDir, network string, ok func(Network) bool) (Network, error) {
	lock, err := flock.Open(Lock(stateDir), unix.LOCK_SH, 0)
	if err == nil {
		lock.Close()
		return Network{}, ErrNotRunning
	}
	if !errors.Is(err, flock.ErrBusy) {
		return Network{}, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return Network{}, fmt.Errorf("watch %s: %w", Dir(stateDir), err)
	}
	news := os.NewFile(uintptr(fd), "inotify")
	defer news.Close()
	if _, err := unix.InotifyAddWatch(fd, Dir(stateDir), unix.IN_MOVED_TO); err != nil {
		return Network{}, fmt.Errorf("watch %s: %w", Dir(stateDir), err)
	}
	stop := context.AfterFunc(ctx, func() { news.Close() })
	defer stop()
	for buffer := make([]byte, 4<<10); ; {
		n, err := Read(stateDir, network)
		if err != nil || ok(n) {
			return n, err
		}
		if _, err := news.Read(buffer); err != nil {
			return n, errors.Join(ctx.Err(), err)
		}
	}
}
