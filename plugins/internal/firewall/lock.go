package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds how long one operation waits for locks, ours and iptables'
// own together, where the caller sets no deadline. Runtimes give a plugin minutes.
const patience = 20 * time.Second

// lock serialises all operations on one network namespace's rules, among all
// processes, whatever their state directories: it is a flock on the namespace
// itself (/proc/thread-self/ns/net), which is a file like any other to flock(2)
// and lives as long as somebody holds it open.
type lock struct {
	file *os.File
	// deadline is when the operation's patience ends.
	deadline time.Time
}

func acquire(ctx context.Context) (*lock, error) {
	l := &lock{deadline: time.Now().Add(patience)}
	if d, ok := ctx.Deadline(); ok {
		l.deadline = d
	}
	var err error
	if l.file, err = openOwn(); err != nil {
		return nil, fmt.Errorf("lock the network namespace's rules: %w", err)
	}
	if err := l.wait(ctx); err != nil {
		return nil, fmt.Errorf("lock the network namespace's rules: %w", err)
	}
	return l, nil
}

// openOwn opens the namespace of the calling thread. Package os would offer it to
// the runtime's poller, and set that up for it.
func openOwn() (*os.File, error) {
	const path = "/proc/thread-self/ns/net"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// wait takes the flock. A blocking flock cannot be given a deadline, so beyond
// the first attempt it happens on the side; when it comes too late, it is given
// back at once.
func (l *lock) wait(ctx context.Context) error {
	fd := int(l.file.Fd())
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, l.deadline)
	defer cancel()
	taken := make(chan error, 1)
	go func() { taken <- flock(fd) }()
	select {
	case err := <-taken:
		return err
	case <-ctx.Done():
		err := fmt.Errorf("%w by %s", ErrBusy, holders(l.file))
		go func() { <-taken; l.release() }()
		return err
	}
}

// flock waits for the lock, through signals.
func flock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (l *lock) release() { _ = l.file.Close() }

// seconds is the patience that is left, in the whole seconds that iptables
// understands.
func (l *lock) seconds() int {
	return max(1, int(time.Until(l.deadline).Round(time.Second)/time.Second))
}

// somebody is a holder that can't be named.
const somebody = "another process"

// holders names the processes that hold a lock on the file, from /proc/locks
// ("1: FLOCK ADVISORY WRITE 1234 00:1a:5678 0 EOF").
func holders(file *os.File) string {
	var stat unix.Stat_t
	table, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(file.Fd()), &stat) != nil {
		return somebody
	}
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
	var names []string
	for line := range strings.Lines(string(table)) {
		field := strings.Fields(line)
		if len(field) < 6 || field[1] == "->" || field[5] != id {
			continue
		}
		command, _ := os.ReadFile("/proc/" + field[4] + "/comm")
		names = append(names, strings.TrimSpace("process "+field[4]+" "+string(command)))
	}
	if len(names) == 0 {
		return somebody
	}
	return strings.Join(names, ", ")
}
