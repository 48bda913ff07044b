package firewall

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// The test binary is also the process that calls a backend, as a plugin does:
// "BACKEND apply|remove N DIR", where DIR has a file for each attachment that
// exists, as the ledger has a record.
const callEnv = "FIREWALL_TEST_CALL"

func TestMain(m *testing.M) {
	if call := os.Getenv(callEnv); call != "" {
		if err := callBackend(strings.Fields(call)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// Most tests wait for packets most of the time; processors are not what
	// they are short of.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func callBackend(words []string) error {
	b, err := Open(BackendName(words[0]), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(words[2])
	if err != nil {
		return err
	}
	record := filepath.Join(words[3], words[2])
	// Beside others on a busy machine a queue of 32 can take long; that a lock
	// is not waited for for ever is another test.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	fmt.Println("ready")
	if words[1] == "apply" {
		if err := os.WriteFile(record, nil, 0o600); err != nil {
			return err
		}
		return b.Apply(ctx, parallelRules(n))
	}
	_ = os.Remove(record)
	r := parallelRules(n)
	if words[1] == "forget" { // names alone
		r = Rules{Attachment: r.Attachment}
	}
	return b.Remove(ctx, r, func() (bool, error) {
		left, err := os.ReadDir(words[3])
		return len(left) > 0, err
	})
}

func parallelRules(n int) Rules {
	return publishing(fmt.Sprintf("ctr%d", n), 2+n, uint16(8000+n), 80)
}

// caller is a process that calls a backend.
type caller struct {
	*exec.Cmd
	stdout io.Reader
}

// call starts a process that calls the backend in the namespace.
func (s *space) call(t *testing.T, b Backend, what string, n int, dir string) caller {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), environment(b)...), fmt.Sprintf("%s=%s %s %d %s", callEnv, b.Name(), what, n, dir))
	cmd.Stderr = new(strings.Builder)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.do(t, func() { check(t, cmd.Start()) })
	return caller{cmd, stdout}
}

// ready waits until the process is about to call its backend.
func (c caller) ready(t *testing.T) {
	t.Helper()
	if _, err := io.ReadFull(c.stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
}

// inParallel calls the backend for all attachments at the same time.
func (s *space) inParallel(t *testing.T, b Backend, what string, count int, dir string) {
	t.Helper()
	var calls []caller
	for n := range count {
		calls = append(calls, s.call(t, b, what, n, dir))
	}
	for n, c := range calls {
		if err := c.Wait(); err != nil {
			t.Errorf("%s %d: %v: %v", what, n, err, c.Stderr)
		}
	}
}

// holdXtables takes and gives back the lock of iptables-legacy until the test
// ends, as kube-proxy or Docker would.
func holdXtables(t *testing.T, b Backend) {
	t.Helper()
	own, ok := b.(*iptables)
	if !ok {
		return
	}
	file, err := os.OpenFile(own.programs.lock, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for {
			_ = flock(int(file.Fd()))
			time.Sleep(30 * time.Millisecond)
			_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended; _ = file.Close() })
}

// 32 processes at once, while another one holds and releases iptables' lock:
// none fails, no rule is lost, shared ones are there once; the same in reverse,
// and nothing is left (C182 to C184).
func TestParallelCalls(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		const count = 32
		w := &world{host: newHost(t, b)}
		before := w.rules(t)
		holdXtables(t, b)
		dir := t.TempDir()
		w.host.inParallel(t, b, "apply", count, dir)
		var all []Rules
		for n := range count {
			r := parallelRules(n)
			all = append(all, r)
			w.host.do(t, func() { check(t, b.Check(context.Background(), r)) })
		}
		parallel := w.rules(t)
		w.host.do(t, func() { check(t, b.Restore(context.Background(), all)) })
		if exact := w.rules(t); sorted(exact) != sorted(parallel) {
			t.Errorf("after parallel calls:\n%s\nshould be:\n%s", parallel, exact)
		}
		w.host.inParallel(t, b, "remove", count, dir)
		if after := w.rules(t); after != before {
			t.Errorf("left behind:\n%s", after)
		}
	})
}

// ADD and DEL of one network's last attachments race: what is left is right.
func TestAddRacesLastRemove(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		host := newHost(t, b)
		dir := t.TempDir()
		for n := range 3 {
			host.inParallel(t, b, "apply", 1, dir)
			remove := host.call(t, b, "remove", 0, dir)
			apply := host.call(t, b, "apply", 100+n, dir)
			if err := remove.Wait(); err != nil {
				t.Errorf("remove: %v: %v", err, remove.Stderr)
			}
			if err := apply.Wait(); err != nil {
				t.Errorf("apply: %v: %v", err, apply.Stderr)
			}
			host.do(t, func() { check(t, b.Check(context.Background(), parallelRules(100+n))) })
			if c := host.call(t, b, "remove", 100+n, dir); c.Wait() != nil {
				t.Errorf("remove: %v", c.Stderr)
			}
		}
	})
}

// A call that is killed at any moment leaves nothing that the next one does
// not make right or take away.
func TestKilledCall(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := &world{host: newHost(t, b)}
		before := w.rules(t)
		dir := t.TempDir()
		holdXtables(t, b)
		survived := 0
		const kills = 12
		for i := range kills {
			after := time.Millisecond << i / 8 // from 0.125 to 256 ms
			killed := w.host.call(t, b, "apply", 1, dir)
			killed.ready(t)
			time.Sleep(after)
			_ = killed.Process.Signal(syscall.SIGKILL)
			if killed.Wait() == nil {
				survived++
			}
			what := "remove"
			if i%2 == 0 {
				what = "forget"
			}
			if i%3 == 0 { // the runtime tries again first
				if c := w.host.call(t, b, "apply", 1, dir); c.Wait() != nil {
					t.Errorf("apply after a killed one: %v", c.Stderr)
				}
				w.host.do(t, func() { check(t, b.Check(context.Background(), parallelRules(1))) })
			}
			if c := w.host.call(t, b, what, 1, dir); c.Wait() != nil {
				t.Errorf("%s after a killed apply: %v", what, c.Stderr)
			}
			if left := w.rules(t); left != before {
				t.Fatalf("after a call killed after %v, %s leaves:\n%s", after, what, left)
			}
		}
		t.Logf("%d of %d calls were done before they were killed", survived, kills)
	})
}

// A lock that is never given back ends in an error that says so, after the
// caller's time at the latest, and names the holder.
func TestLockIsWaitedForOnlySoLong(t *testing.T) {
	t.Parallel()
	host := newSpace(t, "host")
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: variantPrograms(t, "legacy")}
	file, err := os.OpenFile(b.programs.lock, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	host.do(t, func() {
		var err error
		// On a busy machine the time can be over before the programs have started.
		for wait := 1200 * time.Millisecond; wait < time.Minute; wait *= 2 {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			err = b.Apply(ctx, publishing("web", 2, 8080, 80))
			cancel()
			if errors.Is(err, ErrBusy) {
				break
			}
		}
		assertBusy(t, err)
	})
	_ = file.Close()
	held := make(chan bool)
	host.do(t, func() {
		l, err := acquire(context.Background())
		check(t, err)
		go func() { <-held; l.release() }()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		assertBusy(t, b.Remove(ctx, Rules{Attachment: wire.Attachment{Network: "net1"}}, nil))
	})
	close(held)
	host.do(t, func() { check(t, b.Apply(context.Background(), publishing("web", 2, 8080, 80))) })
}

func assertBusy(t *testing.T, err error) {
	t.Helper()
	comm, readErr := os.ReadFile("/proc/self/comm")
	check(t, readErr)
	holder := fmt.Sprintf("process %d %s", os.Getpid(), strings.TrimSpace(string(comm)))
	if err == nil || !strings.Contains(err.Error(), ErrBusy.Error()) || !strings.Contains(err.Error(), holder) {
		t.Errorf("got %v, want %v by %s", err, ErrBusy, holder)
	}
}
