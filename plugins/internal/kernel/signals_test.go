package kernel

import (
	"os"
	"regexp"
	"runtime"
	"testing"
)

// blocked reads the calling thread's mask as the kernel has it.
func blocked(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Error(err)
	}
	return string(regexp.MustCompile(`(?m)^SigBlk:\t(.*)$`).FindSubmatch(status)[1])
}

// A goroutine that is in a container's namespace, and a forked child, must not run
// the runtime's signal handlers.
func TestBlockSignals(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := blocked(t)
	set := blockSignals()
	within := blocked(t)
	restoreSignals(set)
	const all = "fffffffffffbfeff" // but SIGKILL and SIGSTOP, which nobody can block
	if within != all {
		t.Errorf("blocked are %s, want %s", within, all)
	}
	if after := blocked(t); after != before {
		t.Errorf("blocked afterwards are %s, want %s as before", after, before)
	}
}
