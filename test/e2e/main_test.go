// Package e2e tests what a user gets: the built binaries on private hosts made
// of network namespaces.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/programs"
	"github.com/netctl/netctl/test/tidy"
)

// binaries is the directory of the built programs, made once by TestMain.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(tidy.Run(func() int {
		dir, err := os.MkdirTemp("", "netctl-e2e-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binaries = dir
		if err := programs.InstallTested(dir, "netctl", "dnsd"); err != nil {
			panic(err)
		}
		return m.Run()
	}))
}

// A host is a private machine on which netctl runs.
type host struct {
	t    *testing.T
	ns   *netns.Namespace
	root string
}

func newHost(t *testing.T) *host {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "netctl-host-")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, ns: ns, root: root}
	t.Cleanup(func() {
		h.clear()
		if err := client.Quit(context.Background(), filepath.Join(root, "run")); err != nil {
			t.Error(err)
		}
		if mounts, err := h.mounts(); err != nil || len(mounts) > 0 {
			t.Errorf("mounts left, so nothing is deleted: %v, %v", mounts, err)
		} else if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
		ns.Close()
	})
	return h
}

// clear removes what a test has left running.
func (h *host) clear() {
	out, _, _ := h.try("ps", "-aq")
	if ids := strings.Fields(out); len(ids) > 0 {
		h.try(append([]string{"rm", "-f"}, ids...)...)
	}
}

// mounts lists what is mounted below the host's directory.
func (h *host) mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], h.root+"/") {
			found = append(found, fields[4])
		}
	}
	return found, err
}

func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(binaries, "netctl"), args...)
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+h.root+"/run", "NETCTL_DATA_DIR="+h.root+"/lib", "NETCTL_CONF_DIR="+h.root+"/net.d")
	return cmd
}

// try runs netctl on the host and returns what it printed and its status.
func (h *host) try(args ...string) (stdout, stderr string, status int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := h.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := h.ns.Do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		defer stop()
		return cmd.Wait()
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Errorf("netctl %v: %v", args, err)
		return "", "", -1
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState.ExitCode()
}

// netctl is try for what has to succeed.
func (h *host) netctl(args ...string) string {
	h.t.Helper()
	out, stderr, status := h.try(args...)
	if status != 0 {
		h.t.Errorf("netctl %s: status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return out
}

// residue lists what netctl can have left on the host beside a network's own
// objects: links, rules, mounts, processes, sockets.
func (h *host) residue() []string {
	h.t.Helper()
	var left []string
	for _, command := range []string{"ip -o link", "iptables-save", "ip6tables-save", "nft list ruleset"} {
		args := strings.Fields(command)
		out, err := h.ns.Output(args[0], args[1:]...)
		if err != nil {
			h.t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "veth") || strings.Contains(line, ": nb-") || strings.Contains(line, "NETCTL") {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	mounts, err := h.mounts()
	if err != nil {
		h.t.Fatal(err)
	}
	left = append(left, mounts...)
	for _, pattern := range []string{"run/c/*", "run/netns/*", "run/engine/*", "run/*.sock", "lib/c/*", "lib/names/*"} {
		files, _ := filepath.Glob(filepath.Join(h.root, pattern))
		left = append(left, files...)
	}
	return append(left, h.processes()...)
}

// processes lists those that were started for this host. The resolver answers
// that it goes a moment before it has gone.
func (h *host) processes() []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, _ := exec.Command("pgrep", "-af", h.root).Output()
		if len(out) == 0 || time.Now().After(deadline) {
			return strings.Split(strings.TrimSpace(string(out)), "\n")[:strings.Count(string(out), "\n")]
		}
	}
}
