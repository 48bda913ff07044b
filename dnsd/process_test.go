package dnsd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/test/programs"
)

// shipped is the program as users get it.
func shipped(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := programs.Install(dir, "dnsd"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "dnsd")
}

// TestCapabilities: the program as shipped has two capabilities left, in every
// thread, can't get others, and still opens new listeners.
func TestCapabilities(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	program := shipped(t)
	start := func(generation uint64, network string) error {
		return w.host.Do(func() error { return announce(w.dir, program, generation, network) })
	}
	if err := start(0, "front"); err != nil {
		t.Fatal(err)
	}
	st := w.startProcess(0)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", st.PID))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	const kept = "0000000000002400" // NET_BIND_SERVICE is 10, NET_RAW is 13
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			switch name {
			case "CapEff", "CapPrm", "CapBnd":
				if value != kept {
					t.Errorf("%s: %s is %s, want %s", task, name, value, kept)
				}
			case "NoNewPrivs":
				if value != "1" {
					t.Errorf("%s: new privileges are possible", task)
				}
			}
		}
	}
	w.network("back", "10.89.0.1/24")
	db := w.container("back", "db")
	if err := start(0, "back"); err != nil {
		t.Fatal(err)
	}
	if got := answers(ask(db.Namespace, "udp", "10.89.0.1", query("db", dns.TypeA))); got != "10.89.0.2" {
		t.Error(got)
	}
}

// TestSocketActivation: systemd holds the socket, starts the resolver for the
// first who connects, and has it still when the resolver has ended.
func TestSocketActivation(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	cmd := exec.Command("systemd-socket-activate", "--listen="+client.Socket(w.dir), w.program(), "--state-dir", w.dir)
	synced := make(chan error, 1)
	if err := w.host.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	go func() {
		for { // as soon as there is a socket, and before anybody is there to answer
			_, err := client.Do(context.Background(), w.dir, "sync 1 front")
			if !errors.Is(err, client.ErrNotRunning) {
				synced <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := <-synced; err != nil {
		t.Error(err)
	}
	if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "10.88.0.2" {
		t.Error(got)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(client.Socket(w.dir)); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

// fixed is a ledger that never changes.
type fixed struct{ ledger.Delta }

func (f fixed) Changes(since uint64) (ledger.Delta, error) {
	if since == f.Generation {
		return ledger.Delta{Generation: since}, nil
	}
	return f.Delta, nil
}

// quiet makes a daemon that has nothing to listen on.
func quiet(t testing.TB) *Daemon {
	t.Helper()
	dir := t.TempDir()
	d, err := New(Config{StateDir: dir, ResolvConf: filepath.Join(dir, "resolv.conf"), Stay: true}, fixed{ledger.Delta{Generation: 7, Full: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestCommands(t *testing.T) {
	d := quiet(t)
	for line, want := range map[string]string{
		"sync 0\n":         "ok 7\n",
		"sync 7 front\n":   "ok 7\n",
		"sync 8\n":         "error the ledger is at generation 7, and 8 was asked for\n",
		"sync x\n":         "error generation \"x\" is no number\n",
		"sync\n":           "error no such command: \"sync\"\n",
		"sync 1 a b c\n":   "error no such command: \"sync 1 a b c\"\n",
		"quit-if-idle\n":   fmt.Sprintf("bye %d\n", os.Getpid()),
		"records\n":        "[]\n",
		"lookup x web\n":   "error no container \"x\" has names here\n",
		"\n":               "error no such command: \"\"\n",
		"make me a coffee": "error no such command: \"make me a coffee\"\n",
	} {
		if got := d.command(t.Context(), line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// FuzzControl: every line gets one reply, and every reply of one line is one.
func FuzzControl(f *testing.F) {
	for _, line := range []string{"sync 1 front", "sync 99999999999999999999", "status", "records x", "lookup a b", "metrics", "quit-if-idle", "\x00", " sync  1 "} {
		f.Add(line)
	}
	d := quiet(f)
	f.Fuzz(func(t *testing.T, line string) {
		got := d.command(t.Context(), line)
		if !strings.HasSuffix(got, "\n") || strings.HasSuffix(got, "\n\n") {
			t.Fatalf("%q gets %q", line, got)
		}
		if strings.HasPrefix(got, "error") && strings.Count(got, "\n") != 1 {
			t.Fatalf("%q gets %q", line, got)
		}
	})
}

// TestControlConnection: what is sent in pieces, too long, or never ended.
func TestControlConnection(t *testing.T) {
	d := quiet(t)
	c, err := d.listenControl(func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	say := func(pieces ...string) string {
		conn, err := net.Dial("unix", c.path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, p := range pieces {
			io.WriteString(conn, p)
			time.Sleep(5 * time.Millisecond)
		}
		conn.(*net.UnixConn).CloseWrite()
		reply, _ := io.ReadAll(conn)
		return string(reply)
	}
	for _, test := range []struct {
		pieces []string
		want   string
	}{
		{[]string{"sync 0\n"}, "ok 7\n"},
		{[]string{"sy", "nc ", "0", "\n"}, "ok 7\n"},
		{[]string{"sync 0"}, ""},
		{[]string{strings.Repeat("x", 5000)}, ""},
		{nil, ""},
	} {
		if got := say(test.pieces...); got != test.want {
			t.Errorf("%.40q: got %q, want %q", test.pieces, got, test.want)
		}
	}
	info, err := os.Stat(c.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
}

func TestFlags(t *testing.T) {
	c, o, err := parseFlags([]string{"--state-dir", "/x", "--ttl", "5", "--linger", "3s", "--ready-fd", "3", "--qualified-only", "--log-queries", "10"}, io.Discard)
	if err != nil || c.StateDir != "/x" || c.TTL != 5 || c.Linger != 3*time.Second || o.readyFD != 3 || !c.Qualified || c.LogQueries != 10 {
		t.Errorf("%+v %+v %v", c, o, err)
	}
	for _, bad := range [][]string{{"--ttl", "-1"}, {"--ttl", "x"}, {"word"}, {"--no-such-flag"}} {
		if _, _, err := parseFlags(bad, io.Discard); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	for _, bad := range []Config{{Base: "a..b"}, {Base: "."}, {TTL: 601}} {
		bad.StateDir, bad.ResolvConf, bad.Log = t.TempDir(), "/nonexistent/resolv.conf", slog.New(slog.DiscardHandler)
		if _, err := New(bad, fixed{}); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
