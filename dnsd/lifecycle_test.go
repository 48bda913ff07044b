package dnsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/dnsd/watch"
)

// startProcess has the client start the resolver as a process of its own, and
// ends it with the test.
func (w *world) startProcess(generation uint64) Status {
	w.t.Helper()
	if err := w.sync(generation, ""); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if st, err := w.status(); err == nil {
			guard := parent(w.t, st.PID)
			syscall.Kill(st.PID, syscall.SIGTERM)
			w.gone(st.PID)
			w.gone(guard)
		}
		if log, err := os.ReadFile(filepath.Join(w.dir, "dnsd.log")); err == nil && w.t.Failed() {
			w.t.Logf("log of the resolver:\n%s", log)
		}
	})
	st, err := w.status()
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) do(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), client.Patience)
	defer cancel()
	return client.Do(ctx, w.dir, command)
}

func (w *world) status() (st Status, err error) {
	reply, err := w.do("status")
	if err == nil {
		err = json.Unmarshal([]byte(reply), &st)
	}
	return st, err
}

// gone waits for a child's end, which the client reaps.
func (w *world) gone(pid int) {
	w.t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
	}
	w.t.Errorf("process %d is still there", pid)
}

// ended tells whether a process is gone, or waits for nothing but its parent.
func ended(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || strings.Contains(string(text), "\nState:\tZ")
}

// appears waits until a directory's watcher has seen a name appear.
func appears(t testing.TB, w *watch.Watcher, name string) {
	t.Helper()
	found := make(chan error, 1)
	go func() {
		for {
			e, err := w.Next()
			if err != nil || (e.Name == name && e.Has(watch.Appeared)) {
				found <- err
				return
			}
		}
	}()
	select {
	case err := <-found:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("%s does not appear", name)
	}
}

// TestManyStartOne: 32 plugins at once, with no resolver running, get one
// resolver, and each finds its own name live when its Sync returns (G1).
func TestManyStartOne(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.shipped = shipped(t)
	const n = 32
	var generations [n]uint64
	var containers [n]*container
	for i := range containers {
		containers[i] = w.container("front", "web"+string(rune('a'+i)))
	}
	for i, c := range containers { // touch each record, so that each has a generation
		generations[i] = w.put(w.record(c.key))
	}
	w.program() // a script that is being written can't be executed
	var group sync.WaitGroup
	for i, c := range containers {
		group.Go(func() {
			if err := w.sync(generations[i], "front"); err != nil {
				t.Error(err)
				return
			}
			want := nth(w.networks["front"].gateways[0], 2+i).String()
			if got := answers(ask(c.Namespace, "udp", "10.88.0.1", query(c.own(), dns.TypeA))); got != want {
				t.Errorf("%s right after Sync: got %s, want %s", c.own(), got, want)
			}
		})
	}
	group.Wait()
	w.startProcess(0)
	reply, err := w.do("status")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(w.dir, "dnsd.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "msg=ready"); n != 1 {
		t.Errorf("%d resolvers became ready, want 1\n%s", n, reply)
	}
}

// TestKilled: a resolver that is killed is back with everything, and fast.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.shipped = shipped(t)
	web := w.container("front", "web")
	fastest(t, "being back", 200*time.Millisecond, func() time.Duration {
		st := w.startProcess(0)
		syscall.Kill(st.PID, syscall.SIGKILL)
		w.gone(st.PID)
		start := time.Now()
		if err := w.sync(0, "front"); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "10.88.0.2" {
			t.Errorf("after the restart: %s", got)
		}
		return took
	})
}

// TestGuard: the resolver is started again without anybody asking for it, ends
// with its guard, and takes the guard along when it has nothing to do.
func TestGuard(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	st := w.startProcess(0)
	guard := parent(t, st.PID)
	syscall.Kill(st.PID, syscall.SIGKILL)
	st = w.successor(st.PID)
	if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "10.88.0.2" {
		t.Errorf("after the kill: %s", got)
	}
	if now := parent(t, st.PID); now != guard {
		t.Errorf("process %d is its parent, want the guard %d", now, guard)
	}
	syscall.Kill(guard, syscall.SIGTERM)
	w.gone(st.PID)
	w.gone(guard)

	st = w.startProcess(0)
	guard = parent(t, st.PID)
	w.remove(web.key)
	if err := client.Quit(context.Background(), w.dir); err != nil {
		t.Fatal(err)
	}
	w.gone(st.PID)
	w.gone(guard)
}

// TestCrashLoop: a resolver that never lives for long is given up.
func TestCrashLoop(t *testing.T) {
	var out strings.Builder
	g := newGuard([]string{"crash"}, &out)
	defer func(name string) { os.Args[0] = name }(os.Args[0])
	os.Args[0] = "dnsd-crash" // what the child is called, and so what it does
	start := time.Now()
	if status := g.run(nil); status != 1 || !strings.Contains(out.String(), "giving up") {
		t.Errorf("status %d after %s: %s", status, time.Since(start), out.String())
	}
	if time.Since(start) < firstPause<<2 {
		t.Errorf("gave up after %s", time.Since(start))
	}
}

// parent is a process's parent.
func parent(t testing.TB, pid int) (ppid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "PPid: %d", &ppid); err == nil {
			return ppid
		}
	}
	t.Fatal("no PPid")
	return 0
}

// TestThingsRemoved: what somebody removes from the state directory comes back.
func TestThingsRemoved(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	st := w.startProcess(0)
	for _, name := range []string{"dnsd.sock", "dnsd.lock"} {
		watcher, err := watch.New(w.dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
		appears(t, watcher, name)
		watcher.Close()
	}
	if err := w.sync(0, "front"); err != nil {
		t.Fatal(err)
	}
	now, err := w.status()
	if err != nil || now.PID != st.PID {
		t.Errorf("process %d serves now, want still %d: %v", now.PID, st.PID, err)
	}
}

// TestSyncWhileSocketIsGone: a client that finds no socket gets the resolver
// that runs all the same.
func TestSyncWhileSocketIsGone(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	st := w.startProcess(0)
	for range 10 {
		if err := os.Remove(filepath.Join(w.dir, "dnsd.sock")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := w.sync(0, "front"); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := w.status(); err != nil || now.PID != st.PID {
		t.Errorf("process %d serves now, want still %d: %v", now.PID, st.PID, err)
	}
}

// TestStateDirectoryRemoved ends the resolver.
func TestStateDirectoryRemoved(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	st := w.startProcess(0)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.gone(st.PID)
}

// TestQuit: with nothing to serve the resolver goes when told, and leaves
// nothing of its own but the log; with something it stays.
func TestQuit(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	st := w.startProcess(0)
	if reply, err := w.do("quit-if-idle"); err != nil || reply != "busy 1" {
		t.Fatalf("with a name: %q, %v", reply, err)
	}
	w.remove(web.key)
	guard := parent(t, st.PID)
	asked := time.Now()
	if err := client.Quit(context.Background(), w.dir); err != nil {
		t.Fatal(err)
	}
	// They are gone when it returns, unless it has lost its patience.
	if quick := time.Since(asked) < client.Patience; quick && (!ended(st.PID) || !ended(guard)) {
		t.Errorf("Quit has returned, and process %d or its guard %d is still there", st.PID, guard)
	}
	w.gone(st.PID)
	for _, name := range []string{"dnsd.sock", "dnsd.lock"} {
		if _, err := os.Stat(filepath.Join(w.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if err := client.Quit(context.Background(), w.dir); err != nil {
		t.Errorf("with none running: %v", err)
	}
}

// TestQuitAndSync race each other: whoever syncs is served, always.
func TestQuitAndSync(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	r := w.record(web.key)
	w.startProcess(0)
	for range 20 {
		w.remove(web.key)
		var group sync.WaitGroup
		group.Go(func() {
			if err := client.Quit(context.Background(), w.dir); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() {
			generation := w.put(r)
			if err := w.sync(generation, "front"); err != nil {
				t.Error(err)
				return
			}
			if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "10.88.0.2" {
				t.Errorf("after Sync: %s", got)
			}
		})
		group.Wait()
	}
}

// TestUntoldChange: a plugin that is killed between the ledger and the sync
// costs a moment, not the name.
func TestUntoldChange(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	w.startProcess(0)
	w.container("front", "late")
	deadline := time.Now().Add(patience)
	for {
		got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("late.netctl.internal", dns.TypeA)))
		if got == "10.88.0.3" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestNoDevice: the acknowledgement names the device that is missing.
func TestNoDevice(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	run(t, w.host, "ip link del br-front")
	st := w.startProcess(0)
	err := w.sync(0, "front")
	if err == nil || !strings.Contains(err.Error(), "device br-front in network namespace net:[") {
		t.Errorf("sync without the device: %v", err)
	}
	if err := w.sync(0, ""); err != nil {
		t.Errorf("sync for no network: %v", err)
	}
	run(t, w.host, "ip link add br-front type bridge")
	run(t, w.host, "ip addr add 10.88.0.1/24 dev br-front")
	run(t, w.host, "ip link set br-front up")
	if err := w.sync(0, "front"); err != nil {
		t.Errorf("sync with the device: %v", err)
	}
	if now, err := w.status(); err != nil || now.PID != st.PID {
		t.Errorf("process %d serves now, want still %d: %v", now.PID, st.PID, err)
	}
}

// TestStartFails: the reason comes back to who wanted it started.
func TestStartFails(t *testing.T) {
	w := newWorld(t)
	if err := announce(w.dir, filepath.Join(w.dir, "nothing"), 0, ""); err == nil || !strings.Contains(err.Error(), "start dnsd") {
		t.Errorf("no binary: %v", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "dnsd.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "dnsd.sock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "dnsd.sock", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.sync(0, ""); err == nil || !strings.Contains(err.Error(), "control socket") {
		t.Errorf("no socket possible: %v", err)
	}
}
