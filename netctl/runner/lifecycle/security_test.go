package lifecycle_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

// The rows of the checklist in spec runner 9 that can be seen from inside a
// container, or from the host while it runs.

// status prints what the kernel says of the process that reads it.
const status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"

const confined = `CapInh:	0000000000000000
CapPrm:	00000000a80425fb
CapEff:	00000000a80425fb
CapBnd:	00000000a80425fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
`

// Rows 5 and 6: docker's fourteen capabilities, no new privileges, a filter; the
// same for every further process.
func TestConfinement(t *testing.T) {
	h := newHost(t)
	cfg := shell(status + "; sleep 1000")
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(cfg.ID), "Seccomp:") })
	if got := h.log(cfg.ID); got != confined {
		t.Errorf("first process:\n%s", got)
	}
	if _, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", status}}); got != confined {
		t.Errorf("further process:\n%s", got)
	}
	if _, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", status}, User: "nobody"}); !strings.Contains(got, "CapEff:\t0000000000000000") {
		t.Errorf("further process of another user:\n%s", got)
	}
}

func TestCapabilitiesOfAUser(t *testing.T) {
	h := newHost(t)
	cfg := shell(status)
	cfg.Process.User, cfg.CapAdd, cfg.CapDrop = "nobody", []string{"NET_ADMIN"}, []string{"ALL"}
	const netAdmin = "0000000000001000"
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if got := h.mustRun(cfg).stdout; !strings.Contains(got, set+":\t"+netAdmin) {
			t.Errorf("%s:\n%s", set, got)
		}
		cfg.Name = ""
	}
}

// Row 6: calls that the profile forbids. perl is in every Debian.
func TestForbiddenCalls(t *testing.T) {
	const eperm = "1" // the profile's answer; a filter is asked before anything else
	for name, call := range map[string]string{
		"keyctl":            "250, 0, 0, 0",
		"add_key":           "248, 0, 0, 0, 0, 0",
		"bpf":               "321, 0, 0, 0",
		"mount":             "165, 0, 0, 0, 0, 0",
		"unshare user":      "272, 0x10000000",
		"clone user":        "56, 0x10000011, 0, 0, 0, 0",
		"personality other": "135, 0x0400000", // ADDR_COMPAT_LAYOUT and others
		"personality 56":    "135, 56",        // got through in a filter compiled wrongly
		"socket vsock":      "41, 40, 1, 0",
		"kexec_load":        "246, 0, 0, 0, 0",
		"init_module":       "175, 0, 0, 0",
		"reboot":            "169, 0, 0, 0",
		"open_by_handle_at": "304, 0, 0, 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			cfg := shell("")
			cfg.Process.Args = []string{"perl", "-e", "my $r = syscall(" + call + "); print $r == -1 ? $!+0 : 'allowed'"}
			if got := h.mustRun(cfg); got.stdout != eperm {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Row 6: other ABIs are killed, not filtered.
func TestOtherABIsAreKilled(t *testing.T) {
	h := newHost(t)
	cfg := shell("perl -e 'syscall(0x40000000 + 39)'; echo $?") // x32 getpid
	if got := h.mustRun(cfg); got.stdout != fmt.Sprintln(128+31) {
		t.Errorf("got %v", got)
	}
	cfg = shell("perl -e 'print syscall(135, 0xffffffff) >= 0 ? 1 : 0'") // the filter lets through what it should
	if got := h.mustRun(cfg); got.stdout != "1" {
		t.Errorf("reading the personality: %v", got)
	}
}

// Row 7: a device node can be made, but not opened.
func TestDevices(t *testing.T) {
	h := newHost(t)
	r := h.mustRun(shell("mknod /tmp/mem c 1 1 && cat /tmp/mem; head -c 1 /dev/urandom | wc -c; ls /dev"))
	if !strings.Contains(r.stderr, "Operation not permitted") || !strings.HasPrefix(r.stdout, "1\n") {
		t.Errorf("got %v", r)
	}
	for _, own := range []string{"vda", "sda", "mem", "kmsg"} {
		if strings.Contains(r.stdout, "\n"+own+"\n") {
			t.Errorf("%s is in /dev", own)
		}
	}
}

// Row 8.
func TestDescriptorsAndDirectory(t *testing.T) {
	h := newHost(t)
	script := "ls /proc/$$/fd; readlink /proc/self/cwd"
	rec := h.start(shell(script + "; sleep 1000"))
	h.await(func() bool { return strings.HasSuffix(h.log(rec.Config.ID), "/\n") })
	if got, want := h.log(rec.Config.ID), "0\n1\n2\n/\n"; got != want {
		t.Errorf("first process: %q, want %q", got, want)
	}
	if _, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", script}}); got != "0\n1\n2\n/\n" {
		t.Errorf("further process: %q", got)
	}
}

// Row 9: a program of the container that gets hold of the binary it was started
// by cannot write to it, not even when nobody executes it any more.
func TestOwnBinaryIsSealed(t *testing.T) {
	h := newHost(t)
	cfg := shell("")
	cfg.Process.Args = []string{"/proc/self/exe"}
	cfg.Process.Env = []string{"TEST_HOLD_OWN_BINARY=1"}
	r := h.mustRun(cfg)
	if r.stdout != "refused\n" {
		t.Errorf("got %v", r)
	}
}

// holdOwnBinary is the other half: it keeps itself open, becomes a shell, and
// tries to write. Where the kernel can't mount the binary read-only it is a sealed
// copy in memory, which may be opened.
func holdOwnBinary() {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH, 0)
	if err == nil {
		script := fmt.Sprintf("if (echo x >> /proc/self/fd/%d) 2>/dev/null; then echo written; else echo refused; fi", fd)
		err = unix.Exec("/bin/sh", []string{"sh", "-c", script}, nil)
	}
	fmt.Println(err)
	os.Exit(1)
}

// The monitor's own umask is strict and must not be the container's.
func TestUmask(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("umask; sleep 1000"))
	h.await(func() bool { return h.log(rec.Config.ID) != "" })
	if got := h.log(rec.Config.ID); got != "0022\n" {
		t.Errorf("first process: %q", got)
	}
	if _, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", "umask"}}); got != "0022\n" {
		t.Errorf("further process: %q", got)
	}
}

// Row 10.
func TestLimits(t *testing.T) {
	h := newHost(t)
	cfg := shell("ulimit -Sn; ulimit -Hn; for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait")
	cfg.Limits.Pids = 5
	if r := h.mustRun(cfg); !strings.Contains(r.stderr, "fork") || !strings.HasPrefix(r.stdout, "1024\n") {
		t.Errorf("pids: %v", r)
	}
	cfg = shell(`exec perl -e '$x = "x" x 300_000_000; print length $x'`)
	cfg.Limits.Memory = 32 << 20
	cfg.Limits.MemorySwap = 32 << 20
	if r := h.mustRun(cfg); r.code != 128+9 {
		t.Errorf("memory: %v", r)
	}
	if st := h.find(string(cfg.ID)).State; !st.OOMKilled {
		t.Errorf("state %+v, want killed for memory", st)
	}
	rec := h.start(shell("sleep 1000"))
	if got := h.cgroupFile(rec.Config.ID, "pids", "pids.max"); got != "2048\n" {
		t.Errorf("default pids.max is %q", got)
	}
}

// cgroupFile reads a file of the container's cgroup, in v1 or v2.
func (h *host) cgroupFile(id runner.ID, controller, name string) string {
	h.t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/" + controller, "/sys/fs/cgroup"} {
		if b, err := os.ReadFile(filepath.Join(dir, "netctl", string(id), name)); err == nil {
			return string(b)
		}
	}
	h.t.Fatalf("no %s of %s", name, id.Short())
	return ""
}

// Row 11.
func TestModes(t *testing.T) {
	h := newHost(t)
	rec := h.start(shell("sleep 1000"))
	id := rec.Config.ID
	for path, want := range map[string]fs.FileMode{
		h.Store.Dir(id):                0o700,
		h.Store.SocketPath(id):         0o600,
		h.Store.SpecPath(id):           0o600,
		h.Store.File(id, "state.json"): 0o600,
		h.Store.RunDir(id) + "/lock":   0o600,
		h.Store.File(id, "hosts"):      0o644,
	} {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode().Perm(), err, want)
		}
	}
}

// Row 13.
func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "x")
	h := newHost(t)
	cfg := shell("")
	cfg.Process.Args = []string{"env"}
	cfg.Hostname = "box"
	got := strings.Fields(h.mustRun(cfg).stdout)
	slices.Sort(got)
	want := []string{"HOME=/root", "HOSTNAME=box", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Row 14.
func TestNamespaces(t *testing.T) {
	h := newHost(t)
	const script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done"
	ours := func(n string) string {
		link, err := os.Readlink("/proc/self/ns/" + n)
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	onHost := shell(script)
	onHost.Network.Kind = runner.NetworkHost
	for _, cfg := range []*runner.Config{shell(script), onHost} {
		got := strings.Fields(h.mustRun(cfg).stdout)
		for i, n := range []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"} {
			shared := got[i] == ours(n)
			if want := n == "net" && cfg.Network.Kind == runner.NetworkHost; shared != want {
				t.Errorf("network %s: %s shared: %v", cfg.Network.Kind, n, shared)
			}
		}
	}
}

// Row 15.
func TestMissingBindSourceIsNotMade(t *testing.T) {
	h := newHost(t)
	missing := filepath.Join(t.TempDir(), "typing-error")
	cfg := shell("true")
	cfg.Mounts = []runner.Mount{{Kind: runner.MountBind, Source: missing, Target: "/mnt"}}
	if _, err := h.run(cfg, ""); err == nil || !strings.Contains(err.Error(), "does not exist on the host") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it was made")
	}
}

// The host image shows the host's files, but not those of other containers.
func TestOwnDirectoriesAreMasked(t *testing.T) {
	h := newHost(t)
	other := h.start(shell("echo secret > /var/tmp/secret; sleep 1000"))
	r := h.mustRun(shell(fmt.Sprintf("ls -A %s %s; touch %s/x", h.Store.DataRoot(), h.Store.StateRoot(), h.Store.DataRoot())))
	if strings.Contains(r.stdout, "names") || strings.Contains(r.stdout, other.Config.ID.Short()) || !strings.Contains(r.stderr, "Read-only") {
		t.Errorf("got %v", r)
	}
}

// What a container writes stays in it.
func TestHostIsNotChanged(t *testing.T) {
	h := newHost(t)
	marker := filepath.Join(t.TempDir(), "marker")
	if err := os.WriteFile(marker, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := h.mustRun(shell(fmt.Sprintf("echo after > %s; cat %s; rm -rf /etc; ls /etc/passwd", marker, marker)))
	if !strings.HasPrefix(r.stdout, "after\n") {
		t.Errorf("got %v", r)
	}
	if b, _ := os.ReadFile(marker); string(b) != "before" {
		t.Errorf("the host's file is %q", b)
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Fatal(err)
	}
}
