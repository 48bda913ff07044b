package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/store"
)

func TestRunPassesOutputAndStatus(t *testing.T) {
	h := newHost(t)
	r := h.mustRun(shell("echo out; echo err >&2; exit 7"))
	if r.code != 7 || r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("got %v", r)
	}
}

func TestRunReportsTheSignal(t *testing.T) {
	h := newHost(t)
	// As PID 1 a shell cannot kill itself, so its child does, and it says so.
	if r := h.mustRun(shell("sh -c 'kill -9 $$'; exit $?")); r.code != 128+9 {
		t.Errorf("got %v", r)
	}
}

func TestRunPassesInput(t *testing.T) {
	h := newHost(t)
	cfg := shell("cat")
	cfg.Process.OpenStdin = true
	r, err := h.run(cfg, "one\ntwo\n")
	if err != nil || r.code != 0 || r.stdout != "one\ntwo\n" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestAutoRemoveLeavesNothing(t *testing.T) {
	h := newHost(t)
	cfg := shell("exit 3")
	cfg.AutoRemove = true
	if r := h.mustRun(cfg); r.code != 3 {
		t.Errorf("got %v", r)
	}
	var missing *store.NotFoundError
	if _, err := h.Find(context.Background(), string(cfg.ID)); !errors.As(err, &missing) {
		t.Errorf("container is still there: %v", err)
	}
	h.checkNoCgroup(cfg.ID)
	h.checkClean()
}

// A process that is on its way into the container when that ends is in the cgroup
// only, as this one is: it goes too.
func TestEndTakesWhatIsInTheCgroup(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("sleep 1000"))
	late := exec.Command("sleep", "1000")
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- late.Wait() }()
	t.Cleanup(func() { _ = late.Process.Kill() })
	h.joinCgroups(rec.Config.ID, late.Process.Pid)
	if err := h.Kill(context.Background(), &rec); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it still runs")
	}
	h.checkNoCgroup(rec.Config.ID)
}

// joinCgroups puts a process into those of the container.
func (h *host) joinCgroups(id runner.ID, pid int) {
	h.t.Helper()
	joined := 0
	for _, pattern := range []string{"/sys/fs/cgroup/netctl/", "/sys/fs/cgroup/*/netctl/"} {
		files, err := filepath.Glob(pattern + string(id) + "/cgroup.procs")
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte(strconv.Itoa(pid)), 0); err != nil {
				h.t.Fatal(err)
			}
			joined++
		}
	}
	if joined == 0 {
		h.t.Fatalf("no cgroup of %s", id.Short())
	}
}

func TestProgramThatCannotRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		status int
		text   string
	}{
		{"not in PATH", []string{"no-such-program"}, 127, "executable file not found"},
		{"no such path", []string{"/no/such/program"}, 127, "no such file"},
		{"not executable", []string{"/etc/passwd"}, 126, "permission denied"},
		{"a directory", []string{"/etc"}, 126, "is a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			cfg := shell("")
			cfg.Process.Args = c.args
			_, err := h.run(cfg, "")
			var failed *lifecycle.StartError
			if !errors.As(err, &failed) || failed.Status != c.status || !strings.Contains(failed.Text, c.text) {
				t.Errorf("got %v, want status %d and %q", err, c.status, c.text)
			}
			if st := h.find(string(cfg.ID)).State; st.Status != runner.StatusCreated || st.Error == "" {
				t.Errorf("state %+v, want created with the error", st)
			}
		})
	}
}

func TestFailedNetworkLeavesNothing(t *testing.T) {
	h := newHost(t)
	cfg := shell("true")
	cfg.Network.Kind = runner.NetworkAttached
	cfg.Endpoints = []runner.Endpoint{{Network: "broken", IfName: "eth0"}}
	cfg.AutoRemove = true
	_, err := h.run(cfg, "")
	if err == nil || !strings.Contains(err.Error(), "no address left") {
		t.Fatalf("got %v", err)
	}
	h.checkNoCgroup(cfg.ID)
	rec := h.find(string(cfg.ID))
	if err := h.Remove(context.Background(), &rec, false); err != nil {
		t.Fatal(err)
	}
	h.checkClean()
}

func TestInterruptedStartIsUndone(t *testing.T) {
	h := newHost(t)
	cfg := shell("true")
	cfg.Network.Kind = runner.NetworkAttached
	cfg.Endpoints = []runner.Endpoint{{Network: "slow", IfName: "eth0"}}
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := h.Start(ctx, cfg.ID, false); err == nil {
		t.Fatal("the start went through")
	}
	h.checkNoCgroup(cfg.ID)
	rec := h.find(string(cfg.ID))
	if rec.State.Status != runner.StatusCreated {
		t.Errorf("status %s, want created", rec.State.Status)
	}
}

// A start that is interrupted in its last moment has gone through; who takes it
// back has the record as it was before.
func TestRemoveByARecordFromBeforeTheStart(t *testing.T) {
	h := newHost(t)
	running := h.start(shell("sleep 1000"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before := runner.Container{Config: running.Config}
	if err := h.Remove(ctx, &before, false); !errors.Is(err, lifecycle.ErrRunning) {
		t.Errorf("got %v, want that it is running", err)
	}
	if err := h.Remove(ctx, &before, true); err != nil {
		t.Fatal(err)
	}
	h.checkClean()
}

func TestNoneHasOnlyLoopback(t *testing.T) {
	h := newHost(t)
	r := h.mustRun(shell("cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' '; cat /sys/class/net/lo/flags"))
	if r.stdout != "lo\n0x9\n" { // up and loopback
		t.Errorf("got %v", r)
	}
}

func TestStopGivesGrace(t *testing.T) {
	h := newHost(t)
	polite := h.start(shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"))
	deaf := h.start(shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"))
	for _, c := range []struct {
		rec   runner.Container
		grace time.Duration
		code  int
	}{
		{polite, time.Minute, 5},
		{deaf, 200 * time.Millisecond, 128 + 9},
	} {
		h.await(func() bool { return h.log(c.rec.Config.ID) == "ready\n" })
		if err := h.Stop(context.Background(), &c.rec, unix.SIGTERM, c.grace); err != nil {
			t.Fatal(err)
		}
		if st := h.find(c.rec.Name).State; st.Status != runner.StatusExited || st.ExitCode != c.code {
			t.Errorf("state %+v, want exited with %d", st, c.code)
		}
	}
}

func TestStartAgain(t *testing.T) {
	h := newHost(t)
	cfg := shell("echo x >> /var/tmp/count; wc -l < /var/tmp/count")
	first := h.mustRun(cfg)
	running, err := h.Start(context.Background(), cfg.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if first.stdout != "1\n" {
		t.Errorf("first run: %v", first)
	}
	if got := h.log(cfg.ID); got != "1\n2\n" {
		t.Errorf("log %q: what the container wrote did not outlive a restart", got)
	}
}

// A command does not wait for the end of the monitor: what it hears of the end says
// that the record is written and the lock given back.
func TestTheLockIsFreeWhenTheEndIsTold(t *testing.T) {
	h := newHost(t)
	cfg := shell("exit 3")
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		running, err := h.Start(context.Background(), cfg.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		code, err := attach.Client{}.Run(context.Background(), running.Conn)
		locked := h.Store.Locked(cfg.ID)
		rec, loadErr := h.Store.Load(cfg.ID)
		if err != nil || loadErr != nil || code != 3 || locked || rec.State.Status != runner.StatusExited {
			t.Errorf("status %d, %v; lock held: %v; record %s, %v", code, err, locked, rec.State.Status, loadErr)
		}
		running.Wait()
	}
}

func TestWaitTellsTheExitCode(t *testing.T) {
	h := newHost(t)
	cfg := shell("sleep 0.2; exit 9")
	cfg.AutoRemove = true
	rec := h.start(cfg)
	code, err := h.Wait(context.Background(), &rec)
	if err != nil || code != 9 {
		t.Errorf("got %d, %v", code, err)
	}
}

// What could not be given back at the end is not forgotten: start and removal
// try again, and say why they can't.
func TestAttachmentThatCanNotBeGivenBack(t *testing.T) {
	h := newHost(t)
	ctx := context.Background()
	rec := h.start(attachedTo("one", "sleep 1000"))
	id := rec.Config.ID
	stuck := filepath.Join(h.attachments, string(id)+"-eth0")
	if err := errors.Join(os.Remove(stuck), os.MkdirAll(filepath.Join(stuck, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := h.Kill(ctx, &rec); err != nil {
		t.Fatal(err)
	}
	rec = h.find(string(id))
	if len(rec.State.Attached) != 1 || !strings.Contains(rec.State.Error, "eth0") {
		t.Errorf("after the end: %+v", rec.State)
	}
	if _, err := h.Start(ctx, id, false); err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("start: %v", err)
	}
	if err := h.Remove(ctx, &rec, false); err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("removal: %v", err)
	}
	if err := os.Remove(filepath.Join(stuck, "x")); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(ctx, &rec, false); err != nil {
		t.Error(err)
	}
	h.checkClean()
}

func TestRemoveRefusesARunningContainer(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("sleep 100"))
	if err := h.Remove(context.Background(), &rec, false); !errors.Is(err, lifecycle.ErrRunning) {
		t.Errorf("got %v", err)
	}
	if err := h.Remove(context.Background(), &rec, true); err != nil {
		t.Error(err)
	}
	h.checkNoCgroup(rec.Config.ID)
	h.checkClean()
}

// A change of a running container is its monitor's work; after a kill in the
// middle everything can be given back all the same.
func TestConnectAndDisconnect(t *testing.T) {
	h := newHost(t)
	rec := h.start(attachedTo("one", "sleep 1000"))
	ctx := context.Background()
	if err := h.Change(ctx, &rec, runner.Change{Connect: &runner.Endpoint{Network: "two"}}); err != nil {
		t.Fatal(err)
	}
	now := h.find(rec.Name)
	if len(now.State.Attached) != 2 || now.Endpoints[1].IfName != "eth1" || now.State.Attached[1].IfName != "eth1" {
		t.Errorf("state %+v, endpoints %+v", now.State, now.Endpoints)
	}
	err := h.Change(ctx, &rec, runner.Change{Connect: &runner.Endpoint{Network: "broken"}})
	if err == nil || !strings.Contains(err.Error(), "no address left") {
		t.Errorf("broken network: %v", err)
	}
	if now := h.find(rec.Name); len(now.State.Attached) != 2 || len(now.Endpoints) != 2 {
		t.Errorf("after a failure: %+v", now)
	}
	if err := h.Change(ctx, &rec, runner.Change{Disconnect: "one"}); err != nil {
		t.Error(err)
	}
	if now := h.find(rec.Name); len(now.State.Attached) != 1 || len(now.Endpoints) != 1 {
		t.Errorf("after disconnecting: %+v", now)
	}
	// "slow" never ends of itself: the monitor dies while it connects.
	failed := make(chan error, 1)
	go func() {
		failed <- h.Change(ctx, &rec, runner.Change{Connect: &runner.Endpoint{Network: "slow"}})
	}()
	h.await(func() bool { return len(h.find(rec.Name).State.Attached) == 2 })
	h.killMonitor(rec.Config.ID)
	<-failed // what it says depends on when it looked
	// removeAll checks that nothing stays.
}
