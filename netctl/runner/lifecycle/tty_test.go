package lifecycle_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
)

func TestTerminal(t *testing.T) {
	h := newHost(t)
	cfg := shell("test -t 0 && test -t 1 && echo terminal $TERM; stty size; read line; echo got $line")
	cfg.Process.TTY, cfg.Process.OpenStdin = true, true
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	running, err := h.Start(context.Background(), cfg.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Conn.Send(attach.Stdin, []byte("hello\r")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := attach.Client{Out: &out, Err: &out}.Run(context.Background(), running.Conn)
	running.Wait()
	if err != nil || code != 0 {
		t.Errorf("status %d, %v", code, err)
	}
	for _, want := range []string{"terminal xterm\r\n", "got hello\r\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, &out)
		}
	}
	if log := h.log(cfg.ID); log != out.String() {
		t.Errorf("log %q, shown %q", log, &out)
	}
}

func TestTerminalSize(t *testing.T) {
	h := newHost(t)
	cfg := shell("read x; stty size")
	cfg.Process.TTY, cfg.Process.OpenStdin = true, true
	if err := h.Create(cfg); err != nil {
		t.Fatal(err)
	}
	running, err := h.Start(context.Background(), cfg.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		kind attach.Kind
		p    []byte
	}{{attach.Resize, []byte{0, 133, 0, 44}}, {attach.Stdin, []byte("\r")}} {
		if err := running.Conn.Send(m.kind, m.p); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := (attach.Client{Out: &out, Err: &out}).Run(context.Background(), running.Conn); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if !strings.Contains(out.String(), "44 133\r\n") {
		t.Errorf("got %q", &out)
	}
}

// A second terminal sees what the first sees, and either may type.
func TestAttachToARunningContainer(t *testing.T) {
	h := newHost(t)
	cfg := shell("read line; echo got $line; exit 6")
	cfg.Process.OpenStdin = true
	rec := h.start(cfg)
	watcher, err := attach.Dial(h.Store.SocketPath(rec.Config.ID))
	if err != nil {
		t.Fatal(err)
	}
	typist, err := attach.Dial(h.Store.SocketPath(rec.Config.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer typist.Close()
	if err := typist.Send(attach.Stdin, []byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := attach.Client{Out: &out, Err: &out}.Run(context.Background(), watcher)
	if err != nil || code != 6 || out.String() != "got hello\n" {
		t.Errorf("status %d, %q, %v", code, &out, err)
	}
}

func TestPauseAndUnpause(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("while :; do sleep 0.05; done"))
	if err := h.Pause(&rec); err != nil {
		t.Fatal(err)
	}
	rec = h.find(rec.Name)
	if rec.State.Status != runner.StatusPaused {
		t.Errorf("status %s", rec.State.Status)
	}
	if err := h.Unpause(&rec); err != nil {
		t.Fatal(err)
	}
	rec = h.find(rec.Name)
	if rec.State.Status != runner.StatusRunning {
		t.Errorf("status %s", rec.State.Status)
	}
	// A frozen container can be removed.
	if err := h.Pause(&rec); err != nil {
		t.Fatal(err)
	}
	rec = h.find(rec.Name)
	if err := h.Remove(context.Background(), &rec, true); err != nil {
		t.Fatal(err)
	}
}

func TestJoinAnothersNetwork(t *testing.T) {
	h := newHost(t)
	first := h.start(shell("sleep 1000"))
	cfg := shell("readlink /proc/self/ns/net; cat /etc/hosts")
	cfg.Network = runner.NetworkMode{Kind: runner.NetworkContainer, Target: string(first.Config.ID)}
	r := h.mustRun(cfg)
	if !strings.Contains(r.stdout, first.Hostname) {
		t.Errorf("not the other's /etc/hosts: %v", r)
	}
	byPath := shell("readlink /proc/self/ns/net")
	byPath.Network = runner.NetworkMode{Kind: runner.NetworkPath, Target: h.Store.NetnsPath(first.Config.ID)}
	if again := h.mustRun(byPath); !strings.HasPrefix(r.stdout, again.stdout) {
		t.Errorf("by path %v, by container %v", again, r)
	}
	if err := h.Remove(context.Background(), &first, true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Start(context.Background(), cfg.ID, false); err == nil {
		t.Error("joined a container that is gone")
	}
}
