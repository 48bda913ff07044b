// Command netctl-monitor is the parent process of one container, and the
// container's first process until that executes the container's program. Netctl
// executes it; nobody types it. It is apart from netctl because every container
// starts it twice and keeps it once: here is no command line, and nothing about
// images.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"github.com/netctl/netctl/netctl/plumbing"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/monitor"
)

// The first thread is the one that /proc/PID shows, and it can't end before the process
// does: whoever looks at the container's files by way of its monitor looks by that one's
// eyes, and so do we by way of /proc/self. The engine enters the container's mount
// namespace on any thread that it gets, and leaves it by ending that thread; so main keeps
// the first one, and does nothing.
func init() { runtime.LockOSThread() }

func main() {
	if !monitor.Requested(os.Args[1:]) {
		fmt.Fprintln(os.Stderr, "Error: netctl-monitor is started by netctl, for each container")
		os.Exit(1)
	}
	setting := plumbing.OfMonitor(os.Getenv)
	status := make(chan int)
	go func() {
		status <- monitor.Main(os.Args[1:], func(log *slog.Logger) runner.Networks { return setting.Open(log) })
	}()
	os.Exit(<-status)
}
