package lifecycle_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/logfile"
)

// log is the whole log as logs prints it.
func (h *host) log(id runner.ID) string {
	h.t.Helper()
	var b strings.Builder
	err := logfile.Read(context.Background(), h.Store.LogPath(id), logfile.Query{Tail: -1}, func(e logfile.Entry) error {
		b.Write(e.Text)
		if !e.Partial {
			b.WriteByte('\n')
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return b.String()
}

// exec runs a further program and returns what it printed.
func (h *host) exec(rec runner.Container, r lifecycle.ExecRequest) (int, string) {
	h.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	r.Stdout, r.Stderr = write, write
	p, err := h.Exec(&rec, r)
	write.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := io.ReadAll(read)
	if err != nil {
		h.t.Fatal(err)
	}
	code, err := p.Wait()
	if err != nil {
		h.t.Fatal(err)
	}
	return code, string(out)
}

func TestExec(t *testing.T) {
	h := newHost(t)
	cfg := shell("exec sleep 100")
	cfg.Hostname = "inner"
	cfg.Process.Env = []string{"A=1"}
	rec := h.start(cfg)
	code, out := h.exec(rec, lifecycle.ExecRequest{
		Args: []string{"sh", "-c", "hostname; echo $A $B; pwd; tr '\\0' ' ' < /proc/1/cmdline; exit 4"},
		Env:  []string{"B=2"}, Dir: "/tmp",
	})
	if code != 4 || out != "inner\n1 2\n/tmp\nsleep 100 " {
		t.Errorf("status %d, output %q", code, out)
	}
}

func TestExecAsUser(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("sleep 100"))
	for user, want := range map[string]string{
		"nobody":    "65534 65534\n",
		"1234:4321": "1234 4321\n",
		"":          "0 0\n",
	} {
		if _, out := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", "echo $(id -u) $(id -g)"}, User: user}); out != want {
			t.Errorf("user %q: got %q, want %q", user, out, want)
		}
	}
}
