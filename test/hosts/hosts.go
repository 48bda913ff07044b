// Package hosts makes several hosts out of network namespaces, joined by a
// switch, for tests, benchmarks and demonstrations of what spans hosts. Each has
// directories and an overlayd of its own. Nothing touches the machine's network.
package hosts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/static"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/programs"
)

// Patience bounds every wait. Waits are for events.
const Patience = 40 * time.Second

// Install puts the programs into a directory: overlayd, dnsd, the CNI plugins,
// and with engine netctl as well.
func Install(dir string, engine bool) error {
	names := []string{"overlayd", "dnsd", "cni/netctl-cni"}
	if engine {
		names = append(names, "netctl")
	}
	if err := programs.InstallTested(dir, names...); err != nil {
		return err
	}
	for _, plugin := range []string{"overlay", "bridge"} {
		if err := os.Symlink("netctl-cni", filepath.Join(dir, "cni", plugin)); err != nil {
			return err
		}
	}
	return nil
}

// A World is a switch with hosts on it.
type World struct {
	Bin    string
	Switch *netns.Namespace
	Hosts  []*Host
	// FastPath is an option of its networks: auto, true or false. It is auto, which is
	// the default, unless OVERLAY_FAST_PATH says something else.
	FastPath store.FastPath
	t        testing.TB
}

// A Host is one machine: Addr is its address on the link eth0 to the switch,
// whose other end there is Port.
type Host struct {
	Name string
	NS   *netns.Namespace
	Addr netip.Addr
	Port string
	Root string
	// Firewall is the mechanism of attachments' rules, nftables unless changed.
	Firewall string
	w        *World

	mu       sync.Mutex
	overlayd *exec.Cmd
	ended    chan struct{}
	log      bytes.Buffer
	made     int
}

// New makes a world of n hosts, 192.0.2.1 and on (RFC 5737).
func New(t testing.TB, bin string, n int) *World {
	t.Helper()
	w := &World{Bin: bin, t: t, Switch: namespace(t)}
	var err error
	w.FastPath, err = store.ParseFastPath(os.Getenv("OVERLAY_FAST_PATH"))
	w.must(err)
	// With an address of its own: one that it had from a port would change when that
	// host is rebooted, and the others would speak to the old one for a while.
	w.must(w.Switch.Run("ip", "link", "add", "br0", "address", "02:fe:c0:00:02:fe", "type", "bridge"))
	w.must(w.Switch.Run("ip", "addr", "add", "192.0.2.254/24", "dev", "br0"))
	w.must(w.Switch.Run("ip", "link", "set", "br0", "up"))
	for i := range n {
		w.AddHost(string(rune('a'+i)), netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
	}
	return w
}

func namespace(t testing.TB) *netns.Namespace {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// tempDir is t.TempDir() without the test's name: the path of a socket below it
// has room for 107 bytes (unix(7)).
func (w *World) tempDir() string {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "host-")
	w.must(err)
	w.t.Cleanup(func() { w.must(os.RemoveAll(dir)) })
	return dir
}

// AddHost joins another host to the switch.
func (w *World) AddHost(name string, addr netip.Addr) *Host {
	w.t.Helper()
	h := &Host{Name: name, NS: namespace(w.t), Addr: addr, Port: "port-" + name, Root: w.tempDir(), Firewall: "nftables", w: w}
	w.must(h.Plug())
	w.Hosts = append(w.Hosts, h)
	w.t.Cleanup(func() {
		h.Kill()
		h.quitResolver()
		w.must(h.removeState())
		if w.t.Failed() {
			w.t.Logf("overlayd of %s:\n%s", h.Name, h.Log())
		}
	})
	return h
}

// Plug connects the host's eth0 to the switch.
func (h *Host) Plug() error {
	id := strings.TrimSuffix(filepath.Base(h.NS.Path()), "/")
	for _, args := range [][]string{
		{"link", "add", h.Port, "type", "veth", "peer", "name", "eth0", "netns", h.NS.Path()},
		{"link", "set", h.Port, "master", "br0", "up"},
	} {
		if err := h.w.Switch.Run("ip", args...); err != nil {
			return fmt.Errorf("plug %s (%s) in: %w", h.Name, id, err)
		}
	}
	return errors.Join(
		h.NS.Run("ip", "addr", "add", h.Addr.String()+"/24", "dev", "eth0"),
		h.NS.Run("ip", "link", "set", "eth0", "up"),
		h.NS.Run("ip", "route", "add", "default", "via", "192.0.2.254"))
}

// Move gives the host another address on the switch, as DHCP may.
func (h *Host) Move(to netip.Addr) error {
	old := h.Addr
	h.Addr = to
	return errors.Join(
		h.NS.Run("ip", "addr", "del", old.String()+"/24", "dev", "eth0"),
		h.NS.Run("ip", "addr", "add", to.String()+"/24", "dev", "eth0"),
		h.NS.Run("ip", "route", "replace", "default", "via", "192.0.2.254"))
}

// RealFrames has packets leave the host as a real link would send them: inside
// one machine super-packets cross the links in one piece otherwise, larger than
// any MTU.
func (h *Host) RealFrames() error {
	return h.NS.Run("ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off")
}

// Cut takes the host off the switch, Heal puts it back.
func (h *Host) Cut() error  { return h.w.Switch.Run("ip", "link", "set", h.Port, "down") }
func (h *Host) Heal() error { return h.w.Switch.Run("ip", "link", "set", h.Port, "up") }

// Reboot loses all that a boot loses: namespace and state directory. What is on
// disk stays.
func (h *Host) Reboot() {
	h.w.t.Helper()
	h.Kill()
	h.quitResolver()
	_ = h.w.Switch.Run("ip", "link", "del", h.Port)
	h.w.must(h.removeState())
	h.NS = namespace(h.w.t)
	h.w.must(h.Plug())
}

// removeState tries until the resolver, which was told to end, makes no files
// there any more.
func (h *Host) removeState() (err error) {
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = os.RemoveAll(h.StateDir()); err == nil {
			return nil
		}
	}
	return err
}

// StateDir, DataDir and ConfDir are the host's own.
func (h *Host) StateDir() string { return filepath.Join(h.Root, "run") }
func (h *Host) DataDir() string  { return filepath.Join(h.Root, "lib") }
func (h *Host) ConfDir() string  { return filepath.Join(h.Root, "net.d") }

// Env is the environment of programs on the host.
func (h *Host) Env() []string {
	return append(os.Environ(), "NETCTL_STATE_DIR="+h.StateDir(), "NETCTL_DATA_DIR="+h.DataDir(), "NETCTL_CONF_DIR="+h.ConfDir(),
		"NETCTL_FIREWALL="+h.Firewall, "CNI_PATH="+filepath.Join(h.w.Bin, "cni"))
}

// Start starts overlayd and returns at once.
func (h *Host) Start(args ...string) {
	h.w.t.Helper()
	cmd := exec.Command(filepath.Join(h.w.Bin, "overlayd"), append([]string{"--name", h.Name}, args...)...)
	cmd.Env = h.Env()
	cmd.Stderr = (*logWriter)(h)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.w.must(h.NS.Do(cmd.Start))
	ended := make(chan struct{})
	h.mu.Lock()
	h.overlayd, h.ended = cmd, ended
	h.mu.Unlock()
	go func() { _ = cmd.Wait(); close(ended) }()
}

type logWriter Host

func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// Log is what overlayd has said so far.
func (h *Host) Log() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// Signal sends overlayd a signal.
func (h *Host) Signal(s syscall.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.overlayd != nil {
		_ = h.overlayd.Process.Signal(s)
	}
}

// Kill ends overlayd as a crash does, Stop as an administrator does; both wait
// for it.
func (h *Host) Kill() { h.end(syscall.SIGKILL) }
func (h *Host) Stop() { h.end(syscall.SIGTERM) }

func (h *Host) end(s syscall.Signal) {
	h.mu.Lock()
	ended := h.ended
	h.mu.Unlock()
	if ended == nil {
		return
	}
	h.Signal(s)
	<-ended
	h.mu.Lock()
	h.overlayd, h.ended = nil, nil
	h.mu.Unlock()
}

// Ended tells when overlayd has ended by itself.
func (h *Host) Ended() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

// PID is overlayd's.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.overlayd.Process.Pid
}

// Control speaks to the host's overlayd.
func (h *Host) Control() *control.Client { return control.Dial(h.StateDir()) }

// Await waits until the status is as it should be.
func (h *Host) Await(what string, ok func(control.Status) bool) control.Status {
	h.w.t.Helper()
	var last control.Status
	var err error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if last, err = h.Control().Status(context.Background()); err == nil && ok(last) {
			return last
		}
	}
	h.w.t.Fatalf("host %s: not %s after %v: %+v, %v\n%s", h.Name, what, Patience, last, err, h.Log())
	return last
}

// Ready waits for the first complete pass with so many peers.
func (h *Host) Ready(peers int) control.Status {
	h.w.t.Helper()
	return h.Await(fmt.Sprintf("ready with %d peers", peers), func(s control.Status) bool { return s.Ready && len(s.Peers) == peers })
}

func (h *Host) quitResolver() {
	conn, err := net.Dial("unix", filepath.Join(h.StateDir(), "dnsd.sock"))
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintln(conn, "quit")
}

// Peers is a peers file with one pool of network blue for each host.
func (w *World) Peers() static.File {
	f := static.File{Networks: []static.Network{{Name: "blue", FastPath: w.FastPath, Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}}}
	for i, h := range w.Hosts {
		f.Peers = append(f.Peers, static.Peer{Name: h.Name, VTEP: h.Addr,
			Pools: map[string][]netip.Prefix{"blue": {netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, byte(i + 1), 0}), 24)}}})
	}
	return f
}

// WritePeers puts a peers file on every host, and returns its path there.
func (w *World) WritePeers(f static.File) {
	w.t.Helper()
	data, err := json.MarshalIndent(f, "", "  ")
	w.must(err)
	for _, h := range w.Hosts {
		w.must(os.WriteFile(h.PeersFile()+".new", data, 0o600))
		w.must(os.Rename(h.PeersFile()+".new", h.PeersFile()))
	}
}

// PeersFile is where WritePeers puts it.
func (h *Host) PeersFile() string { return filepath.Join(h.Root, "peers.json") }
