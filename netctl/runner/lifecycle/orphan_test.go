package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// monitorPid finds the container's monitor by its command line.
func (h *host) monitorPid(id runner.ID) int {
	h.t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, path := range lines {
		b, _ := os.ReadFile(path)
		args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		if len(args) == 5 && args[1] == "monitor" && args[4] == string(id) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

func (h *host) killMonitor(id runner.ID) {
	h.t.Helper()
	pid := h.monitorPid(id)
	if pid == 0 {
		h.t.Fatal("no monitor")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Store.Wait(context.Background(), id); err != nil {
		h.t.Fatal(err)
	}
}

// attachedTo is a shell on an attached network, so that there is something to
// give back.
func attachedTo(network, script string) *runner.Config {
	cfg := shell(script)
	cfg.Network.Kind = runner.NetworkAttached
	cfg.Endpoints = []runner.Endpoint{{Network: network, IfName: "eth0"}}
	return cfg
}

// A monitor that was killed: the next command that looks ends its container and
// gives everything back.
func TestKilledMonitor(t *testing.T) {
	h := newHost(t)
	rec := h.start(attachedTo("net", "sleep 1000"))
	pid := rec.State.Pid
	h.killMonitor(rec.Config.ID)

	list, err := h.List(context.Background())
	if err != nil || len(list) != 1 {
		t.Fatalf("list %v, %v", list, err)
	}
	st := list[0].State
	if st.Status != runner.StatusExited || st.ExitCode != runner.UnknownExit || st.Error != "its monitor died" {
		t.Errorf("state %+v", st)
	}
	if err := unix.Kill(pid, 0); err == nil && !isZombie(pid) {
		t.Error("the container's process is alive")
	}
	h.checkNoCgroup(rec.Config.ID)
	if left, _ := os.ReadDir(h.attachments); len(left) > 0 {
		t.Errorf("attachments left: %v", left)
	}
	if _, err := os.Stat(h.Store.NetnsPath(rec.Config.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("namespace: %v", err)
	}
	// It can be started again.
	if _, err := h.Start(context.Background(), rec.Config.ID, false); err != nil {
		t.Error(err)
	}
}

func isZombie(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(b), ") Z ")
}

func TestKilledMonitorOfAnAutoRemoved(t *testing.T) {
	h := newHost(t)
	cfg := attachedTo("net", "sleep 1000")
	cfg.AutoRemove = true
	rec := h.start(cfg)
	h.killMonitor(rec.Config.ID)
	var missing *store.NotFoundError
	if _, err := h.Find(context.Background(), rec.Name); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	h.checkClean()
}

func TestRemoveAfterKilledMonitor(t *testing.T) {
	h := newHost(t)
	rec := h.start(attachedTo("net", "sleep 1000"))
	h.killMonitor(rec.Config.ID)
	if err := h.Remove(context.Background(), &rec, true); err != nil { // with what was known before
		t.Fatal(err)
	}
	h.checkNoCgroup(rec.Config.ID)
	h.checkClean()
}

// Killed in the middle of the attach, when no result is written down yet.
func TestMonitorKilledWhileAttaching(t *testing.T) {
	h := newHost(t)
	cfg := attachedTo("slow", "true")
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { _, err := h.Start(context.Background(), cfg.ID, false); started <- err }()
	h.await(func() bool { left, _ := os.ReadDir(h.attachments); return len(left) == 1 })
	if err := unix.Kill(h.monitorPid(cfg.ID), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err == nil || !strings.Contains(err.Error(), "monitor has died") {
		t.Errorf("got %v", err)
	}
	rec := h.find(string(cfg.ID))
	if rec.State.Status != runner.StatusExited {
		t.Errorf("state %+v", rec.State)
	}
	h.checkNoCgroup(cfg.ID)
	if left, _ := os.ReadDir(h.attachments); len(left) > 0 {
		t.Errorf("attachments left: %v", left)
	}
}

// await is for what the test cannot be told of: another process's progress.
func (h *host) await(ready func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatal("waited in vain")
		}
	}
}

// rm -f of a container that is still being started ends the start.
func TestRemoveWhileStarting(t *testing.T) {
	h := newHost(t)
	cfg := attachedTo("slow", "true")
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { _, err := h.Start(context.Background(), cfg.ID, false); started <- err }()
	var rec runner.Container
	h.await(func() bool {
		rec = h.find(string(cfg.ID))
		_, err := os.Stat(h.Store.SocketPath(cfg.ID))
		return rec.State.Status == runner.StatusStarting && err == nil
	})
	if err := h.Remove(context.Background(), &rec, true); err != nil {
		t.Error(err)
	}
	if err := <-started; err == nil {
		t.Error("the start went through")
	}
	h.checkNoCgroup(cfg.ID)
}

// Many at once, also on one name: nothing collides, nothing stays.
func TestParallel(t *testing.T) {
	h := newHost(t)
	const n = 16
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			cfg := attachedTo("net", "sleep 1000")
			cfg.Name = fmt.Sprintf("p%02d", i)
			if err := h.Create(cfg); err != nil {
				t.Error(err)
				return
			}
			if _, err := h.Start(context.Background(), cfg.ID, false); err != nil {
				t.Error(err)
				return
			}
			rec, err := h.Find(context.Background(), cfg.Name)
			if err != nil || rec.State.Status != runner.StatusRunning {
				t.Errorf("%s: %+v, %v", cfg.Name, rec.State, err)
				return
			}
			if i%2 == 0 {
				return
			}
			if err := h.Remove(context.Background(), &rec, true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := h.List(context.Background()); err != nil || len(list) != n/2 {
		t.Errorf("%d containers, %v", len(list), err)
	}
}

// Two starts of one container: one runs it, the other is told.
func TestStartTwice(t *testing.T) {
	h := newHost(t)
	cfg := shell("sleep 1000")
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { _, err := h.Start(context.Background(), cfg.ID, false); results <- err }()
	}
	a, b := <-results, <-results
	if (a == nil) == (b == nil) {
		t.Errorf("got %v and %v", a, b)
	}
	if st := h.find(string(cfg.ID)).State; st.Status != runner.StatusRunning {
		t.Errorf("state %+v", st)
	}
}
