// Package tidy has the tests of a package end without a trace, however they end:
// by themselves, by the test command's time limit, or killed. What they start
// (resolvers, monitors, containers, servers) is made to outlive whoever starts
// it, so a test that dies can't take it along: signals at a parent's death
// follow the thread that started a process, and ours leave their parents.
package tidy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is set for the process that watches, to the directory.
const watched = "NETCTL_TEST_WATCHED"

// patience bounds the wait for what ends by itself.
const patience = 40 * time.Second

// M runs a package's tests as Run does, where somebody else calls them.
type M struct{ *testing.M }

// Run is Run of the tests.
func (m M) Run() int { return Run(m.M.Run) }

// Run runs tests with a directory of their own for temporary files (TMPDIR) and
// returns their exit status. They fail if a process or a mount that belongs to
// the directory is left when they have ended. If this process dies before, the
// one that watches it ends what belongs there and removes it.
func Run(tests func() int) int {
	if dir := os.Getenv(watched); dir != "" {
		return watch(dir, os.Stdin)
	}
	place, err := open()
	if err != nil {
		fmt.Fprintf(os.Stderr, "a directory for tests: %v\n", err)
		return 1
	}
	status := tests()
	if err := place.close(); err != nil {
		fmt.Fprintf(os.Stderr, "after the tests: %v\n", err)
		return max(status, 1)
	}
	return status
}

// A place is the directory of a process's tests, alive the pipe by which the
// one that watches sees it end.
type place struct {
	dir      string
	alive    io.Closer
	watcher  *exec.Cmd
	patience time.Duration // for what ends by itself
}

// open makes the directory, as /tmp is, and starts the process that watches.
func open() (*place, error) {
	dir, err := os.MkdirTemp("", "t") // short: there are sockets below it
	if err != nil {
		return nil, err
	}
	watcher := exec.Command("/proc/self/exe")
	watcher.Args[0] = os.Args[0]
	watcher.Env = append(os.Environ(), watched+"="+dir, "GORACE=atexit_sleep_ms=0")
	watcher.Dir = "/"
	watcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // who ends our group does not mean it
	alive, err := watcher.StdinPipe()
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o777|os.ModeSticky), watcher.Start())
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &place{dir, alive, watcher, patience}, os.Setenv("TMPDIR", dir)
}

// close waits until all that belongs to the directory has ended, and removes it.
func (p *place) close() error {
	left := p.leftovers()
	for end := time.Now().Add(p.patience); len(left) > 0 && time.Now().Before(end); left = p.leftovers() {
		time.Sleep(20 * time.Millisecond)
	}
	err := errors.Join(p.alive.Close(), p.watcher.Wait())
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("still there %v later:\n%s", p.patience, strings.Join(left, "\n")))
	}
	return err
}

func (p *place) leftovers() (left []string) {
	for _, pid := range processes(p.dir, p.watcher.Process.Pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil {
			left = append(left, fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	for _, mount := range mounts(p.dir) {
		left = append(left, "mount "+mount)
	}
	return left
}

// watch waits until nobody has the other end of the pipe, and clears away.
func watch(dir string, alive io.Reader) int {
	_, _ = io.Copy(io.Discard, alive)
	groups := cgroups(dir)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		pids := processes(dir, os.Getpid())
		for _, group := range groups {
			pids = append(pids, members(group)...)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for _, mount := range mounts(dir) {
			_ = unix.Unmount(mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		// Who dies may have made something in the meantime.
		if len(pids)+len(mounts(dir)) == 0 && os.RemoveAll(dir) == nil {
			for _, group := range groups {
				_ = os.Remove(group)
			}
			return 0
		}
	}
	return 1
}
