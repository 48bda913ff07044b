package lifecycle_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/go-archive"
	"github.com/moby/sys/user"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/subid"
)

// base is the host's id for the root of a container in these tests.
const base = 1_000_000

// mapped is a shell whose root is somebody else on the host.
func mapped(script string) *runner.Config {
	cfg := shell(script)
	ids := []user.IDMap{{ID: 0, ParentID: base, Count: runner.DefaultIDs}}
	cfg.Userns.IDs = user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
	return cfg
}

func owner(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", sys.Uid, sys.Gid)
}

// Who is root inside is nobody outside: neither to the host's files nor to its
// kernel. Files of the image look as they did; what is written is the mapped ids'.
func TestUserNamespace(t *testing.T) {
	h := newHost(t)
	bound := t.TempDir()
	if err := errors.Join(os.Chmod(bound, 0o755), os.WriteFile(filepath.Join(bound, "secret"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// All on one stream: what goes to stdout and to stderr may change places.
	cfg := mapped(`exec 2>/dev/null
cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; stat -c %u:%g / /etc/passwd /mnt/secret
for c in 'cat /mnt/secret' 'chown 0 /mnt/secret' 'touch /mnt/new'; do $c && echo "$c works"; done
ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu
touch /var/tmp/mine; chown 5:6 /var/tmp/mine; stat -c %u:%g /var/tmp/mine /etc/hosts; echo again >/dev/stdout; echo end
sleep 1000`)
	cfg.CapAdd = []string{"NET_ADMIN"}
	cfg.Mounts = []runner.Mount{{Kind: runner.MountBind, Source: bound, Target: "/mnt"}}
	rec := h.start(cfg)
	id := rec.Config.ID
	h.await(func() bool { return strings.Contains(h.log(id), "end\n") })
	want := fmt.Sprintf(" 0 %d 65536\n 0 %d 65536\n0:0\n0:0\n65534:65534\n1400\n5:6\n0:0\nagain\nend\n", base, base)
	if out := h.log(id); out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if got := owner(t, filepath.Join(h.Store.Dir(id), "rw/upper/var/tmp/mine")); got != fmt.Sprintf("%d:%d", base+5, base+6) {
		t.Errorf("its file belongs to %s", got)
	}
	if got := owner(t, filepath.Join(bound, "secret")); got != "0:0" {
		t.Errorf("the host's file belongs to %s", got)
	}
	if got := owner(t, fmt.Sprintf("/proc/%d", rec.State.Pid)); got != fmt.Sprintf("%d:%d", base, base) {
		t.Errorf("its process belongs to %s", got)
	}
	h.checkMappedExec(rec)
}

// checkMappedExec: a further program is in the same namespace, has the filter, and
// can be another user.
func (h *host) checkMappedExec(rec runner.Container) {
	h.t.Helper()
	script := "readlink /proc/self/ns/user /proc/1/ns/user | uniq | wc -l; grep -E '^(Seccomp|CapEff)' /proc/self/status; id -u; echo again >/dev/stdout"
	_, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"sh", "-c", script}})
	if !strings.HasPrefix(got, "1\n") || !strings.Contains(got, "Seccomp:\t2\n") || !strings.HasSuffix(got, "\n0\nagain\n") {
		h.t.Errorf("exec: %q", got)
	}
	if _, got := h.exec(rec, lifecycle.ExecRequest{Args: []string{"id", "-un"}, User: "nobody"}); got != "nobody\n" {
		h.t.Errorf("exec as nobody: %q", got)
	}
	_, err := h.Exec(&rec, lifecycle.ExecRequest{Args: []string{"id"}, User: "70000"})
	if err == nil || !strings.Contains(err.Error(), "user 70000") {
		h.t.Errorf("exec as a user that is not mapped: %v", err)
	}
}

// A volume holds the ids that containers see, so that one with other ids, or none,
// finds its files its own. A bound directory does so only if asked.
func TestUserNamespaceVolumes(t *testing.T) {
	h := newHost(t)
	bound := t.TempDir()
	if err := os.Chmod(bound, 0o755); err != nil {
		t.Fatal(err)
	}
	const look = "; stat -c %u:%g /vol/file /vol/other"
	cfg := mapped("touch /vol/file /bound/file; touch /vol/other; chown 7:8 /vol/other" + look)
	cfg.Mounts = []runner.Mount{
		{Kind: runner.MountVolume, Source: "data", Target: "/vol"}, {Kind: runner.MountBind, Source: bound, Target: "/bound", MapIDs: true},
	}
	if r := h.mustRun(cfg); r.stdout != "0:0\n7:8\n" || r.stderr != "" {
		t.Errorf("got %v", r)
	}
	for path, want := range map[string]string{
		filepath.Join(h.Store.VolumePath("data"), "file"):  "0:0",
		filepath.Join(h.Store.VolumePath("data"), "other"): "7:8",
		filepath.Join(bound, "file"):                       "0:0",
	} {
		if got := owner(t, path); got != want {
			t.Errorf("%s belongs to %s, want %s", path, got, want)
		}
	}
	for _, next := range []*runner.Config{mapped("true" + look), shell("true" + look)} {
		next.Mounts = cfg.Mounts[:1]
		if next.Userns.Own() {
			next.Userns.IDs.UIDMaps[0].ParentID += 500_000 // the groups are the same slice
		}
		if r := h.mustRun(next); r.stdout != "0:0\n7:8\n" {
			t.Errorf("next user: %v", r)
		}
	}
	h.removeAll()
	if err := h.RemoveVolume("data"); err != nil {
		t.Error(err)
	}
}

// cp speaks the container's ids, whether it runs or not.
func TestUserNamespaceCopy(t *testing.T) {
	h := newHost(t)
	rec := h.start(mapped("mkdir /srv/d; touch /srv/d/f; chown 5:6 /srv/d/f; echo made; sleep 1000"))
	h.await(func() bool { return h.log(rec.Config.ID) != "" })
	from := filepath.Join(t.TempDir(), "in")
	if err := errors.Join(os.WriteFile(from, []byte("x"), 0o600), os.Chown(from, 11, 12)); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			if err := h.Stop(context.Background(), &rec, syscall.SIGKILL, 0); err != nil {
				t.Fatal(err)
			}
			rec = h.find(rec.Name)
		}
		h.copyIn(rec, from, "/srv/as-root", false)
		h.copyIn(rec, from, "/srv/as-is", true)
		for path, want := range map[string]string{"/srv/as-root": "0:0", "/srv/as-is": "11:12", "/srv/d/f": "5:6", "/etc/passwd": "0:0"} {
			if got := h.ownerInArchive(rec, path); got != want {
				t.Errorf("%s, %s: copied out it belongs to %s, want %s", state, path, got, want)
			}
		}
	}
}

func (h *host) copyIn(rec runner.Container, from, to string, keep bool) {
	h.t.Helper()
	info, err := archive.CopyInfoSourcePath(from, false)
	if err != nil {
		h.t.Fatal(err)
	}
	content, err := archive.TarResource(info)
	if err != nil {
		h.t.Fatal(err)
	}
	defer content.Close()
	if err := h.CopyIn(context.Background(), &rec, content, info, to, lifecycle.CopyOptions{KeepOwner: keep}); err != nil {
		h.t.Fatal(err)
	}
}

// Ids are chosen when the container is made, no two have the same, a removal gives
// them back, and where there are none the error says so.
func TestUserNamespaceAuto(t *testing.T) {
	h := newHost(t)
	file := filepath.Join(t.TempDir(), "subid")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("netctl:%d:131072\n", base)), 0o644); err != nil {
		t.Fatal(err)
	}
	h.SubIDs = subid.Files{UIDs: file, GIDs: file}
	auto := func() *runner.Config {
		cfg := shell("cat /proc/self/uid_map | tr -s ' '")
		cfg.Userns, _ = runner.ParseUserns("auto")
		return cfg
	}
	for _, first := range []int{base, base + 65536} {
		if got, want := h.mustRun(auto()).stdout, fmt.Sprintf(" 0 %d 65536\n", first); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var full *subid.FullError
	if err := h.Create(auto()); !errors.As(err, &full) {
		t.Errorf("a third one: %v", err)
	}
	list, err := h.List(context.Background())
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if err := h.Remove(context.Background(), &list[1], false); err != nil {
		t.Fatal(err)
	}
	if got, want := h.mustRun(auto()).stdout, fmt.Sprintf(" 0 %d 65536\n", base); got != want {
		t.Errorf("after a removal: got %q, want %q", got, want)
	}
}

// Row 12, the id-mapped part: a removal, also after a monitor's death, leaves the
// layers and volumes alone that were mounted mapped; and no mount of them is seen.
func TestRemovalKeepsMappedLayers(t *testing.T) {
	h := newHost(t)
	layer := smallRoot(t)
	for _, killed := range []bool{false, true} {
		cfg := mapped("echo >/vol/keep; rm -f /keep; sleep 1000")
		cfg.Layers = []string{layer}
		cfg.Mounts = append(hostPrograms(), runner.Mount{Kind: runner.MountVolume, Source: "data", Target: "/vol"})
		rec := h.start(cfg)
		h.await(func() bool {
			_, err := os.Stat(filepath.Join(h.Store.VolumePath("data"), "keep"))
			return err == nil
		})
		if _, err := os.Stat(filepath.Join(h.Store.Dir(rec.Config.ID), "lower")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the layers' mount point is still there: %v", err)
		}
		if killed {
			h.killMonitor(rec.Config.ID)
		}
		rec = h.find(rec.Name)
		if err := h.Remove(context.Background(), &rec, true); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{layer, h.Store.VolumePath("data")} {
			if _, err := os.Stat(filepath.Join(d, "keep")); err != nil {
				t.Errorf("monitor killed: %v: %v", killed, err)
			}
		}
		if got := owner(t, filepath.Join(layer, "keep")); got != "0:0" {
			t.Errorf("the layer's file belongs to %s", got)
		}
	}
	if err := h.RemoveVolume("data"); err != nil {
		t.Error(err)
	}
}

// What the mapped root, who is an ordinary user of the host, gets to see of the
// runner's directories: the way to its own root file system and nothing else.
func TestMappedRootOnTheHost(t *testing.T) {
	h := newHost(t)
	if _, err := h.Store.CreateVolume("data", nil); err != nil {
		t.Fatal(err)
	}
	cfg := mapped("touch /vol/x; sleep 1000")
	cfg.Mounts = []runner.Mount{{Kind: runner.MountVolume, Source: "data", Target: "/vol"}}
	rec := h.start(cfg)
	other := h.start(shell("sleep 1000"))
	id := rec.Config.ID
	cases := map[string]bool{ // whether it may be read
		h.Store.File(id, "config.json"):                 false,
		h.Store.File(id, "state.json"):                  false,
		h.Store.File(id, "rw"):                          false,
		h.Store.LogPath(id):                             false,
		h.Store.Dir(id):                                 false,
		h.Store.DataRoot():                              false,
		h.Store.StateRoot():                             false,
		h.Store.SocketPath(id):                          false,
		h.Store.VolumePath("data"):                      false,
		h.Store.Dir(other.Config.ID):                    false,
		h.Store.File(other.Config.ID, "hosts"):          false,
		filepath.Join(h.Store.EngineRoot(), string(id)): false,
		h.Store.File(id, "merged"):                      true,
	}
	for path, may := range cases {
		if got := readableBy(t, base, path); got != may {
			t.Errorf("%s: readable by the mapped root: %v", path, got)
		}
	}
	if err := h.Remove(context.Background(), &rec, true); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveVolume("data"); err != nil {
		t.Error(err)
	}
}

// Joined to a network that is another's, its root has no power over that.
func TestUserNamespaceOnOthersNetwork(t *testing.T) {
	h := newHost(t)
	other := h.start(shell("sleep 1000"))
	cfg := mapped("readlink /proc/self/ns/net; ls /sys/class/net; ip link set lo mtu 1400")
	cfg.CapAdd = []string{"NET_ADMIN"}
	cfg.Network = runner.NetworkMode{Kind: runner.NetworkContainer, Target: string(other.Config.ID)}
	r := h.mustRun(cfg)
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", other.State.Pid))
	if err != nil || !strings.HasPrefix(r.stdout, want) || !strings.Contains(r.stderr, "Operation not permitted") {
		t.Errorf("got %v, %v; want namespace %s", r, err, want)
	}
}

// A root file system that can't be mapped is refused with its reason, and nothing
// stays behind.
func TestUserNamespaceRefused(t *testing.T) {
	h := newHost(t)
	cfg := mapped("true")
	cfg.Layers = []string{"/proc"}
	_, err := h.run(cfg, "")
	if err == nil || !strings.Contains(err.Error(), "map the ids of /proc: its file system can't be mapped") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	h.Containers = containersAt(filepath.Join(dir, "state"), filepath.Join(dir, "data"), h.attachments)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.removeAll)
	if _, err = h.run(mapped("true"), ""); err == nil || !strings.Contains(err.Error(), "can't pass through "+dir) {
		t.Errorf("got %v", err)
	}
}

// ownerInArchive is whom cp says a file of the container belongs to.
func (h *host) ownerInArchive(rec runner.Container, path string) string {
	h.t.Helper()
	var got string
	err := h.CopyOut(context.Background(), &rec, path, lifecycle.CopyOptions{}, func(r io.Reader, _ archive.CopyInfo) error {
		first, err := tar.NewReader(r).Next()
		if err == nil {
			got = fmt.Sprintf("%d:%d", first.Uid, first.Gid)
		}
		_, rest := io.Copy(io.Discard, r)
		return errors.Join(err, rest)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// readableBy tells whether a user of the host may read a file or list a directory.
func readableBy(t *testing.T, uid uint32, path string) bool {
	t.Helper()
	cmd := exec.Command("test", "-r", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err == nil
}
