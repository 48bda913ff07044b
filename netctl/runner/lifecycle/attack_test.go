package lifecycle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/go-archive"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

// Attacks that container engines have fallen for, by what runs inside while the
// host does something to the container. A race is run a bounded number of times:
// what the tests show is that it was lost each time.

// outside is a directory of the host with a secret, which no container sees.
func outside(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "secret"), []byte("the host's"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// closed is a container that sees nothing of the host's but its programs.
func closed(t *testing.T, script string) *runner.Config {
	t.Helper()
	cfg := shell(script)
	cfg.Layers, cfg.Mounts = []string{smallRoot(t)}, hostPrograms()
	return cfg
}

// A working directory that is a descriptor the engine has open would be one of the
// host's (CVE-2024-21626). The first one shows that the test would see it.
func TestWorkingDirectoryIsNoDescriptor(t *testing.T) {
	h := newHost(t)
	secrets := outside(t)
	look := "cat secret ../../../../../../../.." + secrets + "/secret 2>/dev/null; true"
	open := closed(t, look)
	open.Mounts = append(open.Mounts, runner.Mount{Kind: runner.MountBind, Source: secrets, Target: "/mnt"})
	open.Process.Dir = "/mnt"
	if r := h.mustRun(open); !strings.Contains(r.stdout, "the host's") {
		t.Fatalf("the secret can't be seen where it is: %v", r)
	}
	for _, dir := range []string{"/proc/self/fd/7", "/proc/self/fd/8", "/link"} {
		cfg := closed(t, look)
		cfg.Process.Dir = dir
		if err := os.Symlink("/proc/self/fd/9", filepath.Join(cfg.Layers[0], "link")); err != nil {
			t.Fatal(err)
		}
		if r, err := h.run(cfg, ""); err == nil && r.stdout != "" {
			t.Errorf("first process in %s: %v", dir, r)
		}
	}
	rec := h.start(closed(t, "sleep 1000"))
	for fd := 3; fd < 16; fd++ {
		dir := fmt.Sprintf("/proc/self/fd/%d", fd)
		if out, err := h.tryExec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", look}, Dir: dir}); err == nil && out != "" {
			t.Errorf("further process in %s: %q", dir, out)
		}
	}
}

// tryExec is exec for programs that may be refused.
func (h *host) tryExec(rec runner.Container, r lifecycle.ExecRequest) (string, error) {
	h.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	defer read.Close()
	r.Stdout = write
	p, err := h.Exec(&rec, r)
	write.Close()
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(read)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = p.Wait()
	return string(out), err
}

// A program of the container whose interpreter is the binary that executes it
// (CVE-2019-5736), and a process that tries to write to the binary of all that enter.
func TestExecKeepsOwnBinary(t *testing.T) {
	h := newHost(t)
	cfg := shell(`printf '#!/proc/self/exe\n' >/evil && chmod +x /evil && exec perl -e '
$| = 1; print "ready\n"; my $n = 0;
until (-e "/stop") {
	opendir(my $d, "/proc");
	for my $p (grep /^\d+$/, readdir $d) {
		next if (readlink("/proc/$p/exe") // "") =~ m{^/usr/bin/};
		$n++; print "written\n" if open(my $f, ">>", "/proc/$p/exe");
	}
}
print $n ? "tried\n" : "met nobody\n"; sleep 1000'`)
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(cfg.ID), "ready") })
	for range 5 {
		if _, out := h.exec(rec, lifecycle.ExecRequest{Args: []string{"/evil"}, Env: []string{"TEST_HOLD_OWN_BINARY=1"}}); out != "refused\n" {
			t.Errorf("the binary as an interpreter: %q", out)
		}
	}
	h.exec(rec, lifecycle.ExecRequest{Args: []string{"touch", "/stop"}})
	h.await(func() bool { return strings.Count(h.log(cfg.ID), "\n") > 1 })
	if got := h.log(cfg.ID); got != "ready\ntried\n" {
		t.Errorf("got %q", got)
	}
}

// exchange lets two names of a directory change places until stop, as renameat2
// does it: at any moment both are there.
func exchange(t *testing.T, dir, one, other string) (stop func()) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		defer d.Close()
		for {
			select {
			case <-done:
				return
			default:
				if err := unix.Renameat2(int(d.Fd()), one, int(d.Fd()), other, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return sync.OnceFunc(func() { close(done); running.Wait() })
}

// A mount's target lies in a volume, where another container makes a link of it and
// a directory again (CVE-2021-30465).
func TestMountTargetBecomesALink(t *testing.T) {
	h := newHost(t)
	secrets := outside(t)
	before := snapshot(t, secrets)
	if _, err := h.Store.CreateVolume("shared", nil); err != nil {
		t.Fatal(err)
	}
	dir := h.Store.VolumePath("shared")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.Symlink(strings.Repeat("../", 40)+secrets[1:], filepath.Join(dir, "b"))); err != nil {
		t.Fatal(err)
	}
	stop := exchange(t, dir, "a", "b")
	defer stop()
	ran := 0
	for round := 0; round < 8 || ran == 0 && round < 60; round++ {
		cfg := closed(t, "cat /vol/a/secret /vol/a/new/secret /vol/secret 2>/dev/null; echo ran")
		cfg.Mounts = append(cfg.Mounts,
			runner.Mount{Kind: runner.MountVolume, Source: "shared", Target: "/vol"},
			runner.Mount{Kind: runner.MountTmpfs, Target: "/vol/a/new"})
		r, err := h.run(cfg, "")
		if err == nil && r.stdout != "ran\n" {
			t.Errorf("got %v", r)
		}
		if err == nil {
			ran++
		}
	}
	stop()
	if ran == 0 {
		t.Error("none has started")
	}
	if after := snapshot(t, secrets); after != before {
		t.Errorf("the host was changed:\n%s\nnow\n%s", before, after)
	}
	h.removeAll()
	if err := h.RemoveVolume("shared"); err != nil {
		t.Error(err)
	}
}

// cp of a directory that becomes a link out of the container and a directory again
// (CVE-2018-15664): nothing comes from there, nothing goes there.
func TestCopyThroughAChangingPath(t *testing.T) {
	h := newHost(t)
	secrets := outside(t)
	before := snapshot(t, secrets)
	cfg := closed(t, `mkdir -p /vol/a && echo own >/vol/a/secret && ln -s `+secrets+` /vol/b && exec perl -e '
$| = 1; print "ready\n"; my ($a, $b) = ("/vol/a", "/vol/b");
1 while 0 == syscall(316, -100, $a, -100, $b, 2); print "failed\n"'`) // renameat2, AT_FDCWD, RENAME_EXCHANGE
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(cfg.ID), "ready") })
	var read, wrote int
	for deadline := time.Now().Add(30 * time.Second); (read < 10 || wrote < 10) && time.Now().Before(deadline); {
		for _, path := range []string{"/vol/a/secret", "/vol/a/"} {
			err := h.CopyOut(context.Background(), &rec, path, lifecycle.CopyOptions{FollowLink: true}, func(r io.Reader, _ archive.CopyInfo) error {
				text, err := io.ReadAll(r)
				if bytes.Contains(text, []byte("the host's")) {
					t.Errorf("%s: the host's file came out", path)
				}
				if bytes.Contains(text, []byte("own\n")) {
					read++
				}
				return err
			})
			_ = err // it was there, or it was not
		}
		if err := h.CopyIn(context.Background(), &rec, archiveOf(t, "new", "evil"), archive.CopyInfo{}, "/vol/a", lifecycle.CopyOptions{}); err == nil {
			wrote++
		}
	}
	if read < 10 || wrote < 10 {
		t.Errorf("read %d times, wrote %d times in 30 s", read, wrote)
	}
	if after := snapshot(t, secrets); after != before {
		t.Errorf("the host was changed:\n%s\nnow\n%s", before, after)
	}
	if got := h.log(cfg.ID); got != "ready\n" {
		t.Errorf("the container says %q", got)
	}
}

// archiveOf is an archive of one file.
func archiveOf(t *testing.T, name, text string) io.Reader {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return &out
}

// A container may make a node of any device, the host's disk as well, and put it
// where `cp` is about to write. Our threads are not in its cgroup, which would keep
// them from opening it.
func TestCopyOpensNoDevice(t *testing.T) {
	h := newHost(t)
	cfg := closed(t, "mknod /etc/node c 1 3; mknod /vol/node c 1 3; echo x >/etc/file; echo done; sleep 1000")
	cfg.Mounts = append(cfg.Mounts, runner.Mount{Kind: runner.MountVolume, Source: "data", Target: "/vol"})
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(cfg.ID), "done") })
	for _, state := range []string{"running", "stopped"} {
		err := lifecycle.InRoot(h.Containers, context.Background(), &rec, func() error {
			for path, want := range map[string]error{"/etc/node": unix.EACCES, "/vol/node": unix.EACCES, "/etc/file": nil} {
				fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err == nil {
					unix.Close(fd)
				}
				if !errors.Is(err, want) {
					t.Errorf("%s: %s: got %v, want %v", state, path, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Stop(context.Background(), &rec, syscall.SIGKILL, 0); err != nil {
			t.Fatal(err)
		}
		rec = h.find(rec.Name)
	}
	h.removeAll()
	if err := h.RemoveVolume("data"); err != nil {
		t.Error(err)
	}
}

// The whole root is an archive that can be read to its end: the container's files,
// and the places where the kernel's would be.
func TestCopyOfTheWholeRoot(t *testing.T) {
	h := newHost(t)
	cfg := shell("echo own >/etc/own; echo done; exec sleep 1000")
	cfg.Layers = []string{smallRoot(t)}
	busybox, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = os.WriteFile(filepath.Join(cfg.Layers[0], "bin/busybox"), busybox, 0o755)
	}
	if err = errors.Join(err, os.Symlink("busybox", filepath.Join(cfg.Layers[0], "bin/sh")), os.Symlink("busybox", filepath.Join(cfg.Layers[0], "bin/sleep"))); err != nil {
		t.Fatal(err)
	}
	rec := h.start(cfg)
	h.await(func() bool { return strings.Contains(h.log(cfg.ID), "done") })
	for _, state := range []string{"running", "stopped"} {
		for _, path := range []string{"/", "/."} {
			names, err := h.copyNames(&rec, path)
			if err != nil {
				t.Errorf("%s, %s: %v", state, path, err)
			}
			for _, want := range []string{"bin/sh", "etc/own", "keep", "proc/", "sys/", "dev/"} {
				if !names[want] {
					t.Errorf("%s, %s: no %s", state, path, want)
				}
			}
			for name := range names {
				for _, kernel := range []string{"proc/", "sys/", "dev/"} {
					if strings.HasPrefix(name, kernel) && name != kernel {
						t.Errorf("%s, %s: %s", state, path, name)
					}
				}
			}
		}
		if _, err := h.copyNames(&rec, "/proc/meminfo"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: /proc/meminfo: %v", state, err)
		}
		if err := h.Stop(context.Background(), &rec, syscall.SIGKILL, 0); err != nil {
			t.Fatal(err)
		}
		rec = h.find(rec.Name)
	}
}

// copyNames are the names in what is copied out of a container.
func (h *host) copyNames(rec *runner.Container, path string) (map[string]bool, error) {
	names := map[string]bool{}
	err := h.CopyOut(context.Background(), rec, path, lifecycle.CopyOptions{}, func(r io.Reader, _ archive.CopyInfo) error {
		for archived := tar.NewReader(r); ; {
			header, err := archived.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			names[strings.TrimLeft(header.Name, "./")] = true
		}
	})
	return names, err
}
