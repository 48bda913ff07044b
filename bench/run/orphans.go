package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A command may be through while something of it still ends: podman's conmon, a
// monitor that takes its mount namespace along. Nobody waits for that, and it is
// nobody else's time either: it has a pause to end in, and its processor time is the
// command's.

// pause lasts longer than what is left of any of them (a link's memory: 40 ms).
const pause = 60 * time.Millisecond

// adopt has processes whose parent has ended become our children.
func adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	return nil
}

// bury takes the orphans that end within the pause out of the table of processes, and
// tells their processor time. One that stays is a resolver. No command may be running.
func bury() (cpu time.Duration) {
	for deadline := time.Now().Add(pause); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		for {
			var used unix.Rusage
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, &used)
			if err != nil || pid <= 0 {
				break
			}
			cpu += time.Duration(used.Utime.Nano() + used.Stime.Nano())
		}
	}
	return cpu
}
