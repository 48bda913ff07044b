package lab

import (
	"os/exec"
	"time"
)

// Time limits are meant for an idle machine. On a busy one, what takes longer
// says nothing about the plugin, so every limit is held against a control
// that is measured in the same moment: starting the suite's own program, which
// then does nothing.

// NothingName is the name the program is started under to do nothing.
const NothingName = "conformance-nothing"

// idleStartup is what the control takes on an idle machine, at most.
const idleStartup = 5 * time.Millisecond

// mostStretch bounds the factor, so that a run ends.
const mostStretch = 30

// Startup measures the control once, from before the process is started until
// it has been waited for. It is 0 where the control cannot be run.
func (h *Host) Startup() time.Duration {
	cmd := &exec.Cmd{Path: h.self, Args: []string{NothingName}}
	var started time.Time
	err := h.Do(func() error {
		started = time.Now()
		return cmd.Start()
	})
	if err != nil || cmd.Wait() != nil {
		return 0
	}
	return time.Since(started)
}

// Stretched is a limit for an idle machine, made longer by the factor that the
// control is slower than on one.
func Stretched(limit, startup time.Duration) time.Duration {
	factor := float64(startup) / float64(idleStartup)
	return time.Duration(float64(limit) * min(max(factor, 1), mostStretch))
}

// Slack is how much longer than limit to wait now: nothing, unless the machine
// is busy. The slowest of three controls counts.
func (h *Host) Slack(limit time.Duration) time.Duration {
	var slowest time.Duration
	for range 3 {
		slowest = max(slowest, h.Startup())
	}
	return Stretched(limit, slowest) - limit
}

// Eventually calls try until it succeeds or the time is over, and returns its
// last error. Kernel state that settles by itself has no other signal that
// all kernels give. On a busy machine the time is stretched.
func (h *Host) Eventually(limit time.Duration, try func() error) error {
	err := Eventually(limit, try)
	if err == nil {
		return nil
	}
	if more := h.Slack(limit); more > 0 {
		return Eventually(more, try)
	}
	return err
}

// Eventually is the method of Host without a control to stretch it by.
func Eventually(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait)
	}
}
