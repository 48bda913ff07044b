package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lifecycles is how many containers come and go; `make test-chaos` runs 200.
func lifecycles(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("NETCTL_TEST_LIFECYCLES"))
	if err != nil {
		return 16
	}
	t.Logf("%d lifecycles", n)
	return n
}

// TestKillsInLifecycles kills commands, monitors and the resolver with SIGKILL at
// random moments while containers are run and removed, several at a time.
// Afterwards the list tells the truth, names are answered again, and when all is
// removed nothing is left.
func TestKillsInLifecycles(t *testing.T) {
	h := newHost(t)
	h.netctl("create", "net", "--subnet", "10.88.0.0/16")
	n := lifecycles(t)
	const atOnce = 4
	turns := make(chan struct{}, atOnce)
	each(n, func(i int) {
		turns <- struct{}{}
		defer func() { <-turns }()
		h.disturbed(i)
	})
	h.wantTruth()

	// The next one finds a network that works.
	h.netctl("run", "-d", "--name", "asker", "--network", "net", "host", "sleep", "300")
	h.netctl("run", "-d", "--name", "last", "--network", "net", "-p", "8080:80", "host", "sleep", "300")
	h.netctl("exec", "asker", "getent", "ahostsv4", "last")

	if ids := strings.Fields(h.netctl("ps", "-aq")); len(ids) > 0 {
		h.netctl(append([]string{"rm", "-f"}, ids...)...)
	}
	h.netctl("system", "prune", "-f", "--volumes")
	if left := h.residue(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if out := h.netctl("network", "ls", "-q", "--filter", "type=custom"); out != "" {
		t.Errorf("networks left: %s", out)
	}
}

// disturbed is one life: run, perhaps connect, remove; somebody is killed at some
// moment of it.
func (h *host) disturbed(i int) {
	name := fmt.Sprintf("box%d", i)
	delay := time.Duration(rand.IntN(400)) * time.Millisecond
	run := []string{"run", "-d", "--name", name, "--network", "net", "-p", "80", "-v", "/data", "host", "sleep", "300"}
	if i%5 == 0 {
		run = append([]string{run[0], "--rm"}, run[1:]...)
	}
	switch victim := i % 4; victim {
	case 0, 1: // a command
		h.killed(delay, run...)
		h.try("exec", name, "true")
	case 2: // the monitor, while starting, running or ending
		stop := h.later(delay, func() { h.kill("monitor", name) })
		h.try(run...)
		h.try("restart", "-t", "0", name)
		stop()
	case 3: // the resolver
		stop := h.later(delay, func() { h.kill("dnsd", "") })
		h.try(run...)
		stop()
	}
	if i%3 == 0 {
		h.killed(delay/2, "rm", "-f", "-v", name)
	}
	if i%2 == 0 {
		h.try("rm", "-f", "-v", name)
	}
}

// killed runs a command and kills it after a time, if it still runs.
func (h *host) killed(after time.Duration, args ...string) {
	cmd := h.command(args...)
	_ = h.ns.Do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		return cmd.Wait()
	})
}

// later does something after a time; stop waits until it is done.
func (h *host) later(after time.Duration, do func()) (stop func()) {
	done := make(chan struct{})
	time.AfterFunc(after, func() { do(); close(done) })
	return func() { <-done }
}

// kill ends this host's processes of one kind with SIGKILL: the monitor of a
// container, or the resolver.
func (h *host) kill(kind, name string) {
	id := ""
	if name != "" {
		target, err := os.Readlink(filepath.Join(h.root, "lib/names", name))
		if err != nil {
			return // not that far yet, or gone
		}
		id = target
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, _ := os.ReadFile(path)
		if !bytes.Contains(text, []byte(h.root)) || !bytes.Contains(text, []byte(kind)) || !bytes.Contains(text, []byte(id)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// wantTruth: what is listed as running runs, what is not does not.
func (h *host) wantTruth() {
	h.t.Helper()
	out := h.netctl("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}")
	listed := map[string]string{}
	for line := range strings.Lines(out) {
		id, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		listed[id] = state
	}
	alive := map[string]bool{}
	processes, _ := exec.Command("pgrep", "-af", "netctl monitor "+h.root+"/run").Output()
	for line := range strings.Lines(string(processes)) {
		fields := strings.Fields(line)
		alive[fields[len(fields)-1]] = true
	}
	for id, state := range listed {
		if (state == "running") != alive[id] {
			h.t.Errorf("%s is listed as %s, monitor alive: %v", id, state, alive[id])
		}
		if pid := h.netctl("inspect", "-f", "{{.State.Pid}}", id); state == "running" && !isAlive(pid) {
			h.t.Errorf("%s is listed as running, and its process %s is dead", id, pid)
		}
	}
	for id := range alive {
		if listed[id] == "" {
			h.t.Errorf("a monitor of %s, which is not listed", id)
		}
	}
}

func isAlive(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	return err == nil && !bytes.Contains(text, []byte("State:\tZ"))
}
