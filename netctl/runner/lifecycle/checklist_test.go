package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// The rest of the checklist in spec runner 9.

// Row 3: the container's mounts are all it sees: nothing of the host's root is
// left below or behind, and nothing is shared with the host.
func TestMountsOfAContainer(t *testing.T) {
	h := newHost(t)
	// On many hosts all mounts are shared; on this one maybe none is.
	shared := t.TempDir()
	if err := errors.Join(unix.Mount("tmpfs", shared, "tmpfs", 0, ""), unix.Mount("", shared, "", unix.MS_SHARED, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(shared, unix.MNT_DETACH) })
	cfg := shell("cat /proc/self/mountinfo")
	cfg.Mounts = []runner.Mount{{Kind: runner.MountBind, Source: shared, Target: "/mnt"}}
	lines := strings.Split(strings.TrimSpace(h.mustRun(cfg).stdout), "\n")
	roots, bound := 0, false
	for _, line := range lines {
		fields := strings.Fields(line)
		bound = bound || fields[4] == "/mnt"
		if fields[4] == "/" {
			roots++
			if !strings.Contains(line, " - overlay ") {
				t.Errorf("the root is %s", line)
			}
		}
		if strings.Contains(line, " shared:") || strings.Contains(line, " master:") {
			t.Errorf("propagates: %s", line)
		}
		if strings.Contains(fields[4], h.Store.StateRoot()) && !strings.Contains(line, " ro,") {
			t.Errorf("the runner's own directory is mounted: %s", line)
		}
	}
	if roots != 1 || !bound {
		t.Errorf("%d mounts at /, the shared one is there: %v:\n%s", roots, bound, strings.Join(lines, "\n"))
	}
}

// Row 4: what moby masks is empty inside, what it makes read-only can't be written.
// The lists are in the goldens of package spec; this is what they do.
func TestMaskedPaths(t *testing.T) {
	h := newHost(t)
	r := h.mustRun(shell(`
for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ -e $f ] && printf '%s %s\n' $f "$(head -c 1 $f | wc -c)"; done
for d in /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do [ -d $d ] && printf '%s %s\n' $d "$(ls -A $d | wc -l)"; done
for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/net/core/somaxconn /sys/kernel/mm/ksm/run; do [ -e $f ] && (echo 0 >$f) 2>/dev/null && echo "$f written"; done
true`))
	for line := range strings.Lines(r.stdout) {
		if !strings.HasSuffix(line, " 0\n") {
			t.Errorf("shown or written: %s", line)
		}
	}
	if !strings.Contains(r.stdout, "/proc/kcore 0") && !strings.Contains(r.stdout, "/proc/keys 0") {
		t.Errorf("nothing was looked at: %v", r)
	}
}

// Row 12: a removal, whoever does it, deletes nothing that was mounted: neither a
// host directory nor a volume nor a layer.
func TestRemovalKeepsWhatWasMounted(t *testing.T) {
	h := newHost(t)
	layer, bound := smallRoot(t), smallRoot(t)
	make := func() *runner.Config {
		cfg := shell("echo >/vol/keep; rm -f /keep; sleep 1000")
		cfg.Layers = []string{layer}
		cfg.Mounts = append(hostPrograms(),
			runner.Mount{Kind: runner.MountBind, Source: bound, Target: "/mnt"}, runner.Mount{Kind: runner.MountVolume, Source: "data", Target: "/vol"})
		return cfg
	}
	for _, killed := range []bool{false, true} {
		rec := h.start(make())
		h.await(func() bool {
			_, err := os.Stat(filepath.Join(h.Store.VolumePath("data"), "keep"))
			return err == nil
		})
		if killed {
			h.killMonitor(rec.Config.ID)
		}
		rec = h.find(rec.Name)
		if err := h.Remove(context.Background(), &rec, true); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{layer, bound, h.Store.VolumePath("data")} {
			if _, err := os.Stat(filepath.Join(d, "keep")); err != nil {
				t.Errorf("monitor killed: %v: %v", killed, err)
			}
		}
	}
	if err := h.RemoveVolume("data"); err != nil {
		t.Error(err)
	}
}

// smallRoot is a directory with the mount points of a root file system, and a file
// to be kept.
func smallRoot(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	for _, sub := range []string{"bin", "lib", "lib64", "usr", "proc", "dev", "sys", "etc", "mnt", "vol"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "keep"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hostPrograms are the mounts that make a small root able to run a shell.
func hostPrograms() []runner.Mount {
	var mounts []runner.Mount
	for _, d := range []string{"/bin", "/lib", "/lib64", "/usr"} {
		if _, err := os.Stat(d); err == nil {
			mounts = append(mounts, runner.Mount{Kind: runner.MountBind, Source: d, Target: d, ReadOnly: true})
		}
	}
	return mounts
}

// Row 17: the container has its end of the terminal and never the other one.
func TestTerminalMasterStaysOutside(t *testing.T) {
	h := newHost(t)
	cfg := shell("ls -l /proc/1/fd; ls /dev/pts; sleep 1000")
	cfg.Process.TTY = true
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(rec.Config.ID), "ptmx\r\n") })
	for line := range strings.Lines(h.log(rec.Config.ID)) {
		if strings.Contains(line, "-> ") && strings.Contains(line, "ptmx") {
			t.Errorf("an open master: %s", line)
		}
	}
}

// Row 20: the monitor keeps only what it needs.
func TestMonitorIsTidy(t *testing.T) {
	t.Setenv("SECRET", "x")
	held, err := os.Open("/etc/passwd") // a descriptor of the command's own
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	h := newHost(t)
	rec := h.start(shell("sleep 1000"))
	proc := "/proc/" + strconv.Itoa(h.monitorPid(rec.Config.ID))
	if cwd, err := os.Readlink(proc + "/cwd"); cwd != "/" {
		t.Errorf("directory %q, %v", cwd, err)
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil || !strings.Contains(string(status), "Umask:\t0077\n") {
		t.Errorf("umask: %v\n%s", err, status)
	}
	// Where we may not lower it (CAP_SYS_RESOURCE) the log says so.
	warned, _ := os.ReadFile(h.Store.File(rec.Config.ID, "monitor.log"))
	if score, err := os.ReadFile(proc + "/oom_score_adj"); string(score) != "-999\n" && !strings.Contains(string(warned), "killed for memory") {
		t.Errorf("oom_score_adj %q, %v", score, err)
	}
	if env, err := os.ReadFile(proc + "/environ"); err != nil || strings.Contains(string(env), "SECRET") {
		t.Errorf("environment %q, %v", env, err)
	}
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		target, _ := os.Readlink(filepath.Join(proc, "fd", f.Name()))
		if target == "/etc/passwd" || strings.HasPrefix(target, "/dev/pts") {
			t.Errorf("descriptor %s leads to %s", f.Name(), target)
		}
	}
	if sid, err := unix.Getsid(h.monitorPid(rec.Config.ID)); err != nil || fmt.Sprint(sid) != filepath.Base(proc) {
		t.Errorf("session %d, %v: want its own", sid, err)
	}
}

// The table of promises names a test for each row, and the tests it names exist.
func TestChecklistIsComplete(t *testing.T) {
	const top = "../../.."
	page, err := os.ReadFile(filepath.Join(top, "docs/containers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## What keeps a container in")
	for row := 1; row <= 20; row++ {
		if !strings.Contains(table, fmt.Sprintf("\n| %d | ", row)) {
			t.Errorf("row %d is missing", row)
		}
	}
	var tests strings.Builder
	for _, dir := range []string{"netctl", "netctl/runner", "netctl/runner/*"} {
		files, err := filepath.Glob(filepath.Join(top, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(table, -1) {
		if !strings.Contains(tests.String(), "func "+name+"(") {
			t.Errorf("%s does not exist", name)
		}
	}
	for _, name := range regexp.MustCompile(`\bcontainer_\w+`).FindAllString(table, -1) {
		if _, err := os.Stat(filepath.Join(top, "netctl/testdata/script", name+".txtar")); err != nil {
			t.Error(err)
		}
	}
}
