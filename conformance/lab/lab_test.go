package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/conformance/protocol"
)

func newHost(t *testing.T) *Host {
	t.Helper()
	h, err := NewHost(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a shell line on the host and returns its output.
func run(t *testing.T, h *Host, line string) string {
	t.Helper()
	reply, err := h.Call(context.Background(), protocol.Request{Plugin: "/bin/sh", Args: []string{"-c", line}, Env: map[string]string{"PATH": os.Getenv("PATH")}})
	must(t, err)
	return strings.TrimSpace(string(reply.Stdout) + string(reply.Stderr))
}

func TestHostIsPrivate(t *testing.T) {
	marker := fmt.Sprintf("/run/lab-test-%d", os.Getpid())
	h := newHost(t)
	must(t, h.WriteFile(marker, []byte("x"), 0o600))
	if _, err := os.Stat(marker); err == nil {
		os.Remove(marker)
		t.Errorf("%s of the lab host is on the real machine", marker)
	}
	if got := run(t, h, "ls /var/lib"); got != "cni" {
		t.Errorf("/var/lib of the lab host has %q, want only cni", got)
	}
	if got := run(t, h, "ls /sys/class/net"); got != "eth0\nlo" {
		t.Errorf("/sys/class/net of the lab host has %q", got)
	}
}

func TestTrafficToTheOutside(t *testing.T) {
	h := newHost(t)
	for _, to := range []netip.Prefix{OutsideV4, OutsideV6} {
		for _, network := range []string{"tcp", "udp"} {
			at := netip.AddrPortFrom(to.Addr(), 7000)
			stop, err := h.Outside.Serve(network, at, "outside")
			must(t, err)
			var answer Answer
			// IPv6 waits for the kernel's worker to see that the cable is up.
			err = Eventually(30*time.Second, func() (err error) { answer, err = h.Ask(network, at, netip.AddrPort{}); return err })
			if err != nil || answer.Token != "outside" {
				t.Errorf("ask %s %s: %+v, %v", network, at, answer, err)
			}
			stop()
			if _, err := h.Ask(network, at, netip.AddrPort{}); err == nil {
				t.Errorf("%s %s answers after it was stopped", network, at)
			}
		}
	}
}

func TestKilledContainerLeavesNothing(t *testing.T) {
	h := newHost(t)
	c, err := h.NewContainer("c1")
	must(t, err)
	_, err = h.Bench(c, "eth0", 1)
	must(t, err)
	c2, err := h.NewContainer("c2")
	must(t, err)
	before, err := h.State()
	must(t, err)
	_, err = h.Bench(c2, "eth0", 2)
	must(t, err)
	after, err := h.State()
	must(t, err)
	if changes := before.Diff(after); len(changes) == 0 {
		t.Error("a second cable on the bridge does not show in the state")
	}
	must(t, c2.Kill())
	gone, err := h.State()
	must(t, err)
	if changes := before.Diff(gone); len(changes) > 0 {
		t.Errorf("a killed container leaves %v", changes)
	}
	if c2.Alive() || !c.Alive() {
		t.Error("the wrong container is dead")
	}
}

func TestStateSeesRules(t *testing.T) {
	h := newHost(t)
	before, err := h.State()
	must(t, err)
	if out := run(t, h, "nft add table ip x; nft add chain ip x y; nft add rule ip x y counter accept; nft add rule ip x y counter accept"); out != "" {
		t.Fatal(out)
	}
	after, err := h.State()
	must(t, err)
	var keys []string
	for _, c := range before.Diff(after) {
		keys = append(keys, c.Key)
	}
	want := []string{"firewall table ip x", "firewall table ip x chain y", "firewall table ip x chain y | counter accept", "firewall table ip x chain y | counter accept #2"}
	if !slices.Equal(keys, want) {
		t.Errorf("changes %q, want %q", keys, want)
	}
}

// TestNamespacesEnd: nothing a host had keeps a namespace alive after Close.
func TestNamespacesEnd(t *testing.T) {
	h, err := NewHost(Options{})
	must(t, err)
	c, err := h.NewContainer("c1")
	must(t, err)
	_, err = h.Serve("tcp", netip.MustParseAddrPort("0.0.0.0:7000"), "host")
	must(t, err)
	_, err = c.Serve("udp", netip.MustParseAddrPort("0.0.0.0:7000"), "c1")
	must(t, err)
	before := sockets(t)
	h.Close()
	if after := sockets(t); after >= before {
		t.Errorf("%d sockets are open before Close and %d after it", before, after)
	}
	// The thread itself ends a moment after its last work.
	must(t, Eventually(30*time.Second, strayThread))
}

// strayThread fails while a thread of this process is in another namespace
// than the process.
func strayThread() error {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	if err != nil {
		return err
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		if ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil && ns != own {
			return fmt.Errorf("thread %s is still in %s", task.Name(), ns)
		}
	}
	return nil
}

// sockets counts the open sockets of this process.
func sockets(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	n := 0
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

func TestDiff(t *testing.T) {
	a := State{"link x": "up", "link y": "up", "file z": "1"}
	b := State{"link x": "down", "file z": "1", "addr n": "present"}
	var got []string
	for _, c := range a.Diff(b) {
		got = append(got, c.String())
	}
	want := []string{"+ addr n: present", "~ link x: up → down", "- link y: up"}
	if !slices.Equal(got, want) {
		t.Errorf("diff %q, want %q", got, want)
	}
}

func TestLimitEndsChildrenToo(t *testing.T) {
	h := newHost(t)
	reply, err := h.Call(context.Background(), protocol.Request{
		Plugin: "/bin/sh", Args: []string{"-c", "sleep 3600 & echo $!; sleep 3600"}, Env: map[string]string{"PATH": os.Getenv("PATH")}, Limit: 300 * time.Millisecond,
	})
	must(t, err)
	if !reply.TimedOut || reply.OK() {
		t.Errorf("a plugin that hangs: %s", reply.Summary())
	}
	child := strings.TrimSpace(string(reply.Stdout))
	err = Eventually(30*time.Second, func() error {
		if stat, err := os.ReadFile("/proc/" + child + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			return fmt.Errorf("child %s still runs", child)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReboot(t *testing.T) {
	h := newHost(t)
	must(t, h.WriteFile("/var/lib/cni/kept", []byte("x"), 0o600))
	must(t, h.WriteFile("/run/lost", []byte("x"), 0o600))
	boot := run(t, h, "cat /proc/sys/kernel/random/boot_id")
	again, err := h.Reboot()
	must(t, err)
	t.Cleanup(again.Close)
	if got := run(t, again, "cat /var/lib/cni/kept; cat /run/lost 2>/dev/null"); got != "x" {
		t.Errorf("after the reboot the files are %q, want only the one on disk", got)
	}
	if now := run(t, again, "cat /proc/sys/kernel/random/boot_id"); now == boot {
		t.Errorf("the boot ID is still %s", now)
	}
}

func TestFullDisk(t *testing.T) {
	h := newHost(t)
	empty, err := h.FillDisk()
	must(t, err)
	if out := run(t, h, "head -c 100000 /dev/zero > /run/more && echo written"); strings.Contains(out, "written") {
		t.Error("there is room on a full disk")
	}
	must(t, empty())
	if out := run(t, h, "head -c 100000 /dev/zero > /run/more && echo written"); out != "written" {
		t.Errorf("there is no room on an emptied disk: %s", out)
	}
}

func TestUserContainer(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	h, err := NewHost(Options{Self: self})
	must(t, err)
	t.Cleanup(h.Close)
	c, err := h.NewUserContainer("nested")
	must(t, err)
	if out := run(t, h, "nsenter --net="+c.Path+" ip -o link"); !strings.Contains(out, "lo") {
		t.Errorf("the namespace cannot be entered: %s", out)
	}
	must(t, c.Kill())
}

// TestMain lets the test binary hold a namespace and do nothing, as the
// program does.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case PauseName:
		time.Sleep(time.Minute)
		return
	case NothingName:
		return
	}
	os.Exit(m.Run())
}
