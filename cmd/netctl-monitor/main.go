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

	"github.com/netctl/netctl/netctl/plumbing"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/monitor"
)

func main() {
	if !monitor.Requested(os.Args[1:]) {
		fmt.Fprintln(os.Stderr, "Error: netctl-monitor is started by netctl, for each container")
		os.Exit(1)
	}
	setting := plumbing.OfMonitor(os.Getenv)
	os.Exit(monitor.Main(os.Args[1:], func(log *slog.Logger) runner.Networks { return setting.Open(log) }))
}
