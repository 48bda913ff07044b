package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/store"
	"github.com/netctl/netctl/test/tidy"
)

// The test binary is its own monitor, and, through package engine, its own
// container init.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_HOLD_OWN_BINARY") != "" {
		holdOwnBinary()
	}
	if os.Getenv("TEST_START") != "" && !monitor.Requested(os.Args[1:]) {
		startAndDie()
	}
	if args := os.Args[1:]; monitor.Requested(args) {
		os.Exit(monitor.Main(args, func(*slog.Logger) runner.Networks { return loopback{os.Getenv("TEST_ATTACHMENTS")} }))
	}
	// By default the race detector has each process sleep for a second before it
	// ends; monitors and their children too.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(tidy.Run(m.Run))
}

// loopback is a small but real Networks: it raises lo, and notes each attachment
// in a file below dir, so that a test sees what was not given back. The network
// "broken" cannot be attached to; "slow" never ends of itself.
type loopback struct{ dir string }

func (l loopback) Attach(ctx context.Context, container, netns string, endpoints []runner.Endpoint) ([]runner.Attached, error) {
	if out, err := exec.CommandContext(ctx, "nsenter", "--net="+netns, "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("raise lo: %w: %s", err, out)
	}
	var out []runner.Attached
	for _, e := range endpoints {
		if err := os.WriteFile(filepath.Join(l.dir, container+"-"+e.IfName), nil, 0o600); err != nil {
			return nil, err
		}
		switch e.Network {
		case "broken":
			return nil, errors.Join(errors.New("network broken: no address left"), l.Detach(ctx, container, netns, runner.Planned(endpoints)))
		case "slow":
			<-ctx.Done()
			return nil, errors.Join(ctx.Err(), l.Detach(ctx, container, netns, runner.Planned(endpoints)))
		}
		out = append(out, runner.Attached{Network: e.Network, IfName: e.IfName})
	}
	return out, nil
}

func (l loopback) Rank(context.Context, string, []runner.Endpoint, []runner.Attached) error {
	return nil
}

func (l loopback) Detach(_ context.Context, container, _ string, attached []runner.Attached) error {
	for _, a := range attached {
		if err := os.Remove(filepath.Join(l.dir, container+"-"+a.IfName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Rename notes the names in the attachment's file.
func (l loopback) Rename(_ context.Context, container string, endpoints []runner.Endpoint) error {
	for _, e := range endpoints {
		if err := os.WriteFile(filepath.Join(l.dir, container+"-"+e.IfName), []byte(strings.Join(e.Names, " ")), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// host is a pair of private state directories.
type host struct {
	*lifecycle.Containers
	t           *testing.T
	attachments string
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("containers need root")
	}
	dir := t.TempDir()
	// Containers' users must be able to pass through.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := &host{t: t, attachments: filepath.Join(dir, "attachments")}
	if err := os.Mkdir(h.attachments, 0o700); err != nil {
		t.Fatal(err)
	}
	h.Containers = containersAt(filepath.Join(dir, "state"), filepath.Join(dir, "data"), h.attachments)
	t.Cleanup(h.removeAll)
	return h
}

func containersAt(state, data, attachments string) *lifecycle.Containers {
	return &lifecycle.Containers{
		Store:    store.Open(state, data),
		Networks: loopback{attachments},
		Monitor: monitor.Executable{Path: "/proc/self/exe",
			Env: []string{"PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE"), "TEST_ATTACHMENTS=" + attachments}},
		Log: slog.New(slog.DiscardHandler),
	}
}

// removeAll ends what a test has left running, and fails if anything of it
// stays behind.
func (h *host) removeAll() {
	list, err := h.List(context.Background())
	if err != nil {
		h.t.Error(err)
	}
	for _, c := range list {
		if err := h.Remove(context.Background(), &c, true); err != nil {
			h.t.Errorf("remove %s: %v", c.Name, err)
		}
	}
	h.checkClean()
}

// checkClean looks for what containers could leave on the host.
func (h *host) checkClean() {
	h.t.Helper()
	for _, dir := range []string{
		h.attachments, h.Store.NetnsDir(), h.Store.EngineRoot(),
		filepath.Join(h.Store.StateRoot(), "c"), filepath.Join(h.Store.DataRoot(), "c"), filepath.Join(h.Store.DataRoot(), "names"),
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Error(err)
		}
		for _, e := range entries {
			h.t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, filepath.Dir(h.Store.StateRoot())) {
			h.t.Errorf("left mounted: %s", line)
		}
	}
}

// checkNoCgroup fails if a cgroup of the container exists in any hierarchy.
func (h *host) checkNoCgroup(id runner.ID) {
	h.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/netctl/", "/sys/fs/cgroup/*/netctl/"} {
		found, err := filepath.Glob(pattern + string(id))
		if err != nil {
			h.t.Fatal(err)
		}
		for _, f := range found {
			h.t.Errorf("left behind: %s", f)
		}
	}
}

// shell is a container of the host's root that runs a script.
func shell(script string) *runner.Config {
	return &runner.Config{
		Image: "host", Layers: []string{"/"},
		Process: runner.Process{Args: []string{"/bin/sh", "-c", script}},
		Network: runner.NetworkMode{Kind: runner.NetworkNone},
	}
}

// result is what a foreground run gave.
type result struct {
	code           int
	stdout, stderr string
}

// run creates and runs a container in the foreground.
func (h *host) run(cfg *runner.Config, stdin string) (result, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Create(cfg); err != nil {
		h.t.Fatal(err)
	}
	running, err := h.Start(ctx, cfg.ID, true)
	if err != nil {
		return result{}, err
	}
	var out, errs bytes.Buffer
	client := attach.Client{Out: &out, Err: &errs}
	if stdin != "" {
		client.In = strings.NewReader(stdin)
	}
	code, err := client.Run(ctx, running.Conn)
	running.Wait()
	return result{code, out.String(), errs.String()}, err
}

// mustRun is run for containers that should start.
func (h *host) mustRun(cfg *runner.Config) result {
	h.t.Helper()
	r, err := h.run(cfg, "")
	if err != nil {
		h.t.Fatalf("run %q: %v", cfg.Process.Args, err)
	}
	return r
}

// start creates and starts a container in the background.
func (h *host) start(cfg *runner.Config) runner.Container {
	h.t.Helper()
	if err := h.Create(cfg); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.Start(context.Background(), cfg.ID, false); err != nil {
		h.t.Fatal(err)
	}
	return h.find(string(cfg.ID))
}

func (h *host) find(ref string) runner.Container {
	h.t.Helper()
	c, err := h.Find(context.Background(), ref)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (r result) String() string {
	return fmt.Sprintf("status %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
}
