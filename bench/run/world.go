package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/test/netns"
)

// world is a private host: a network namespace, directories, and a root file
// system with nothing but busybox in it. For netctl it is two hosts, which differ in
// their packet filter and have directories of their own.
type world struct {
	bin, dir, root string
	host           *netns.Namespace
}

// bridge is the name of the network that both hosts have.
const bridge = "bench"

const (
	iptables = "iptables"
	nftables = "nftables"
)

func newWorld(bin string) (*world, error) {
	host, err := netns.New()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "netctl-bench-")
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	w := &world{bin: bin, dir: dir, root: filepath.Join(dir, "root"), host: host}
	if err := errors.Join(w.makeRoot(), w.mountBoot(), w.makeNetworks()); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// boot is for what does not outlive it, of all peers.
func (w *world) boot() string { return filepath.Join(w.dir, "run") }

// mountBoot makes it what /run is. make has put us into a mount namespace of our own.
func (w *world) mountBoot() error {
	if err := os.Mkdir(w.boot(), 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", w.boot(), "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", w.boot(), err)
	}
	return nil
}

func (w *world) makeNetworks() error {
	for firewall, subnet := range map[string]string{iptables: "10.99.0.0/16", nftables: "10.98.0.0/16"} {
		if _, err := w.execute(firewall, filepath.Join(w.bin, "netctl"), "network", "create", bridge, "--subnet", subnet); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot makes the root file system, from the static busybox.
func (w *world) makeRoot() error {
	for _, d := range []string{"bin", "proc", "dev", "sys", "etc", "tmp", "run", "var"} {
		if err := os.MkdirAll(filepath.Join(w.root, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.root, "bin/busybox"), data, 0o755); err != nil {
		return err
	}
	return errors.Join(os.Symlink("busybox", filepath.Join(w.root, "bin/true")), os.Symlink("busybox", filepath.Join(w.root, "bin/sleep")))
}

func (w *world) close() {
	if out, err := w.netctl("ps", "-aq"); err == nil {
		for _, id := range strings.Fields(out) {
			_, _ = w.netctl("rm", "-f", id)
		}
	}
	for _, firewall := range []string{iptables, nftables} {
		_, _ = w.execute(firewall, filepath.Join(w.bin, "netctl"), "network", "rm", bridge)
	}
	_ = unix.Unmount(w.boot(), unix.MNT_DETACH)
	_ = unix.Unmount(filepath.Join(w.dir, "podman/overlay"), unix.MNT_DETACH)
	_ = os.RemoveAll(w.dir)
	_ = w.host.Close()
}

// env is the environment of every peer: directories of this run's own, and for netctl
// those of the host with that packet filter.
func (w *world) env(firewall string) []string {
	return append(os.Environ(), "NETCTL_FIREWALL="+firewall, "NETCTL_STATE_DIR="+filepath.Join(w.boot(), firewall),
		"NETCTL_DATA_DIR="+filepath.Join(w.dir, "data", firewall), "NETCTL_CONF_DIR="+filepath.Join(w.dir, "net.d", firewall))
}

// timed runs a command and gives the processor time of it and of what it waited for.
func (w *world) timed(firewall string, args []string) (time.Duration, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = w.env(firewall)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := w.host.Do(cmd.Run); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// execute runs a command on the private host.
func (w *world) execute(firewall string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = w.env(firewall)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := w.host.Do(cmd.Run); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// netctl does something on the host with iptables.
func (w *world) netctl(args ...string) (string, error) {
	return w.execute(iptables, append([]string{filepath.Join(w.bin, "netctl")}, args...)...)
}

// bundle makes what runc and crun want: netctl's own specification of the same
// container, with the directory as root and without what belongs to netctl.
func (w *world) bundle() (string, error) {
	id, err := w.netctl("run", "-d", "--network", "none", "--rootfs", w.root, "--", "/bin/sleep", "100")
	if err != nil {
		return "", err
	}
	defer func() { _, _ = w.netctl("rm", "-f", id) }()
	data, err := os.ReadFile(filepath.Join(w.dir, "data", iptables, "c", id, "spec.json"))
	if err != nil {
		return "", err
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return "", err
	}
	s.Version = "1.0.2" // Debian's crun knows no later one
	s.Root.Path, s.Process.Args, s.Linux.CgroupsPath = w.root, []string{"/bin/true"}, ""
	for i, ns := range s.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			s.Linux.Namespaces[i].Path = ""
		}
	}
	var mounts []specs.Mount
	for _, m := range s.Mounts {
		if m.Type != "bind" {
			mounts = append(mounts, m)
		}
	}
	s.Mounts = mounts
	if data, err = json.Marshal(s); err != nil {
		return "", err
	}
	dir := filepath.Join(w.dir, "bundle")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// monitorMemory is what one monitor has of its own, in bytes, while its container
// runs, a moment after the start, when it has given back what only that needed.
func (w *world) monitorMemory(network string) (int64, error) {
	id, err := w.netctl("run", "-d", "--network", network, "--rootfs", w.root, "--", "/bin/sleep", "100")
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = w.netctl("rm", "-f", id) }()
	time.Sleep(3 * time.Second)
	pid, err := w.netctl("inspect", "-f", "{{.State.Pid}}", id)
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The monitor is the parent: the fourth field, after a name in parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	rollup, err := os.ReadFile("/proc/" + fields[1] + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(rollup)) {
		if rest, ok := strings.CutPrefix(line, "Private_Dirty:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb * 1024, err
		}
	}
	return 0, errors.New("no Private_Dirty in smaps_rollup")
}

// leftAfter runs and removes so many containers and counts what is there that
// was not before: cgroups, mounts, links, files, processes.
func (w *world) leftAfter(n int) (int, error) {
	if _, err := w.netctl("run", "--rm", "--network", bridge, "--rootfs", w.root, "--", "/bin/true"); err != nil {
		return 0, err
	}
	before, err := w.traces()
	if err != nil {
		return 0, err
	}
	for range n / 2 {
		if _, err := w.netctl("run", "--rm", "--network", bridge, "--rootfs", w.root, "--", "/bin/true"); err != nil {
			return 0, err
		}
		id, err := w.netctl("run", "-d", "--network", bridge, "-p", "80", "--rootfs", w.root, "--", "/bin/sleep", "100")
		if err != nil {
			return 0, err
		}
		if _, err := w.netctl("rm", "-f", "-v", id); err != nil {
			return 0, err
		}
	}
	left, err := w.leftSince(before)
	for line := range left {
		fmt.Println("left:", line)
	}
	return len(left), err
}

// leftSince are the traces that were not there before and do not go by
// themselves: the child that waits for the kernel to free a link (some 40 ms)
// outlives the command that is done with it.
func (w *world) leftSince(before map[string]bool) (map[string]bool, error) {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, err := w.traces()
		if err != nil {
			return nil, err
		}
		maps.DeleteFunc(left, func(line string, _ bool) bool { return before[line] })
		if len(left) == 0 || time.Now().After(deadline) {
			return left, nil
		}
	}
}

// traces are the names of all that netctl can leave.
func (w *world) traces() (map[string]bool, error) {
	all := map[string]bool{}
	script := `find "$0"/run/iptables "$0"/data/iptables -mindepth 2; ls -d /sys/fs/cgroup/netctl/* /sys/fs/cgroup/*/netctl/* 2>/dev/null;
		grep "$0" /proc/self/mountinfo | cut -d' ' -f5; ip -o link | cut -d: -f2; pgrep -af "netctl monitor $0"; true`
	out, err := w.execute(iptables, "sh", "-c", script, w.dir)
	for line := range strings.Lines(out) {
		all[strings.TrimSpace(line)] = true
	}
	return all, err
}
