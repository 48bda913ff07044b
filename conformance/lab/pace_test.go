package lab

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/netctl/netctl/conformance/protocol"
)

func TestStretched(t *testing.T) {
	for _, row := range []struct{ limit, startup, want time.Duration }{
		{time.Second, 0, time.Second}, // the control could not be run
		{time.Second, idleStartup / 2, time.Second},
		{time.Second, idleStartup, time.Second},
		{time.Second, 3 * idleStartup, 3 * time.Second},
		{time.Second, time.Hour, mostStretch * time.Second},
	} {
		if got := Stretched(row.limit, row.startup); got != row.want {
			t.Errorf("%s with a control of %s is stretched to %s, want %s", row.limit, row.startup, got, row.want)
		}
	}
}

func TestStartup(t *testing.T) {
	if got := newHost(t).Startup(); got != 0 {
		t.Errorf("without a program of its own the control takes %s", got)
	}
	self, err := os.Executable()
	must(t, err)
	h, err := NewHost(Options{Self: self})
	must(t, err)
	t.Cleanup(h.Close)
	if h.Startup() <= 0 {
		t.Error("the control takes no time")
	}
}

// TestLimitOnABusyMachine: a plugin that is late only because the machine is
// busy is waited for; one that hangs is killed all the same.
func TestLimitOnABusyMachine(t *testing.T) {
	h := newHost(t)
	for _, row := range []struct {
		sleep string
		slack func(time.Duration) time.Duration
		late  bool
	}{
		{"1", func(time.Duration) time.Duration { return time.Hour }, false},
		{"3600", func(limit time.Duration) time.Duration { return 9 * limit }, true},
		{"3600", func(time.Duration) time.Duration { return 0 }, true},
	} {
		r := protocol.Request{Plugin: "/bin/sleep", Args: []string{row.sleep}, Limit: 50 * time.Millisecond}
		p, err := h.start(t.Context(), r, row.slack)
		must(t, err)
		if reply := p.Wait(); reply.TimedOut != row.late {
			t.Errorf("sleep %s: late is %v, want %v", row.sleep, reply.TimedOut, row.late)
		}
	}
}

// TestEventuallyGivesUp: with the last error.
func TestEventuallyGivesUp(t *testing.T) {
	wrong := errors.New("wrong")
	if err := newHost(t).Eventually(10*time.Millisecond, func() error { return wrong }); err != wrong {
		t.Errorf("got %v", err)
	}
	tries := 0
	must(t, newHost(t).Eventually(time.Minute, func() error {
		if tries++; tries < 3 {
			return wrong
		}
		return nil
	}))
}
