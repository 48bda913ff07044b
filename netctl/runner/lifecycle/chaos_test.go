package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// startAndDie is a command that starts a container in a process of its own, so
// that it can be killed: TEST_START is state, data and ID.
func startAndDie() {
	h := containersAt(os.Getenv("TEST_STATE"), os.Getenv("TEST_DATA"), os.Getenv("TEST_ATTACHMENTS"))
	if _, err := h.Start(context.Background(), runner.ID(os.Getenv("TEST_START")), false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Commands and monitors are killed at moments spread over a start and an end.
// Afterwards the list tells the truth and everything can be removed.
func TestKillsAtAnyMoment(t *testing.T) {
	h := newHost(t)
	for i := range 30 {
		cfg := attachedTo("net", "sleep 0.05")
		if i%3 > 0 {
			cfg = attachedTo("net", "sleep 1000")
		}
		cfg.AutoRemove = i%2 == 0
		if err := h.Create(cfg); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "TEST_START="+string(cfg.ID), "TEST_STATE="+h.Store.StateRoot(),
			"TEST_DATA="+h.Store.DataRoot(), "TEST_ATTACHMENTS="+h.attachments)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
		if i%2 == 0 {
			_ = cmd.Process.Kill()
		}
		if pid := h.monitorPid(cfg.ID); pid != 0 && i%4 > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		_ = cmd.Wait()
		h.checkTruth()
	}
	// removeAll, which every test ends with, checks that nothing stays.
}

// checkTruth: what is listed as running runs, and nothing else does. A container
// may end between our reading its record and our looking at its process, so each
// is looked at until the two agree.
func (h *host) checkTruth() {
	h.t.Helper()
	list, err := h.List(context.Background())
	if err != nil {
		h.t.Error(err)
	}
	for _, c := range list {
		h.await(func() bool {
			now, err := h.Find(context.Background(), string(c.Config.ID))
			if err != nil {
				var missing *store.NotFoundError
				return errors.As(err, &missing)
			}
			pid := now.State.Pid
			alive := pid != 0 && unix.Kill(pid, 0) == nil && !isZombie(pid)
			return alive == (now.State.Status == runner.StatusRunning)
		})
	}
}
