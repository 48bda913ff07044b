package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/control"
)

// Etcd is a server (Debian's etcd-server) on the switch.
type Etcd struct {
	w       *World
	dir     string
	process *exec.Cmd
	client  *clientv3.Client
}

// EtcdEndpoint is where hosts reach it.
const EtcdEndpoint = "http://192.0.2.254:2379"

// StartEtcd starts a server, and tells the hosts of it.
func (w *World) StartEtcd() *Etcd {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "etcd") // short enough for a socket's name
	w.must(err)
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &Etcd{w: w, dir: dir}
	e.Run()
	w.t.Cleanup(e.Kill)
	for _, h := range w.Hosts {
		h.UseEtcd()
	}
	return e
}

// UseEtcd has the host's overlayd use the server on the switch.
func (h *Host) UseEtcd() { h.UseEtcdWith(map[string]any{}) }

// UseEtcdWith adds further settings of the store.
func (h *Host) UseEtcdWith(more map[string]any) {
	h.w.t.Helper()
	if more["endpoints"] == nil {
		more["endpoints"] = []string{EtcdEndpoint}
	}
	data, err := json.Marshal(map[string]any{"etcd": more})
	h.w.must(err)
	h.w.must(os.WriteFile(h.Settings(), data, 0o600))
}

// Proxy has a host use the server by a proxy on the switch that can lose answers.
func (e *Etcd) Proxy(h *Host) *etcdtest.Proxy {
	h.w.t.Helper()
	var listener net.Listener
	h.w.must(h.w.Switch.Do(func() (err error) {
		listener, err = net.Listen("tcp", "192.0.2.254:0")
		return err
	}))
	h.UseEtcdWith(map[string]any{"endpoints": []string{"http://" + listener.Addr().String()}})
	return etcdtest.NewProxy(h.w.t, filepath.Join(e.dir, "client:1"), listener)
}

// Settings is overlayd's file on the host.
func (h *Host) Settings() string { return filepath.Join(h.Root, "overlay.json") }

// StartWithEtcd starts overlayd with the settings of UseEtcd.
func (h *Host) StartWithEtcd(args ...string) {
	h.w.t.Helper()
	h.Start(append([]string{"--config", h.Settings()}, args...)...)
}

// Run starts the process on the data that is there, and waits until it answers.
func (e *Etcd) Run() {
	e.w.t.Helper()
	_ = os.Remove(filepath.Join(e.dir, "client:1")) // a killed process leaves it
	e.process = exec.Command("etcd", "--data-dir", e.data(), "--listen-client-urls", EtcdEndpoint+",unix://client:1", "--advertise-client-urls", EtcdEndpoint,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "error")
	e.process.Dir = e.dir // for the socket, by which the test itself reaches it
	e.w.must(e.w.Switch.Do(e.process.Start))
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: e.dial}}
	for deadline := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get(EtcdEndpoint + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			e.w.t.Fatalf("etcd does not answer: %v", err)
		}
	}
}

func (e *Etcd) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = e.w.Switch.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Kill ends the process as a crash does.
func (e *Etcd) Kill() {
	if e.process != nil {
		_ = e.process.Process.Kill()
		_ = e.process.Wait()
		e.process = nil
	}
}

// CreateNetwork makes a network as `netctl network create -d overlay` does.
func (h *Host) CreateNetwork(name string, ranges ...string) {
	h.w.t.Helper()
	h.w.must(h.TryCreateNetwork(name, 0, ranges...))
}

// TryCreateNetwork is CreateNetwork with pools of another size than /24.
func (h *Host) TryCreateNetwork(name string, bits int, ranges ...string) error {
	var prefixes []netip.Prefix
	for _, r := range ranges {
		prefixes = append(prefixes, netip.MustParsePrefix(r))
	}
	planned, err := network.Open(h.ConfDir(), nil).Plan(network.Request{Name: name, Driver: "overlay", Subnets: prefixes})
	if err != nil {
		return err
	}
	return h.Control().Create(context.Background(), control.CreateNetwork{Name: name, Ranges: prefixes, PoolBits4: bits, FastPath: h.w.FastPath.String(), Definition: planned.List})
}

// Client speaks to the server by its socket, until the test ends.
func (e *Etcd) Client() *clientv3.Client {
	e.w.t.Helper()
	if e.client == nil {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.socket()}, Logger: zap.NewNop(), DialTimeout: Patience})
		e.w.must(err)
		e.w.t.Cleanup(func() { _ = client.Close() })
		e.client = client
	}
	return e.client
}

func (e *Etcd) socket() string { return "unix://" + filepath.Join(e.dir, "client:1") }

// Compact forgets how everything came to be as it is now.
func (e *Etcd) Compact() {
	e.w.t.Helper()
	client := e.Client()
	now, err := client.Get(e.w.t.Context(), "any")
	e.w.must(err)
	_, err = client.Compact(e.w.t.Context(), now.Header.Revision)
	e.w.must(err)
}

// Backup copies the data and returns where to. The server is away meanwhile.
func (e *Etcd) Backup() string {
	e.w.t.Helper()
	e.Kill()
	copied := e.w.t.TempDir()
	e.w.must(os.CopyFS(copied, os.DirFS(e.data())))
	e.Run()
	return copied
}

// Restore starts the server again on a backup, or on nothing for "".
func (e *Etcd) Restore(backup string) {
	e.w.t.Helper()
	e.Kill()
	e.w.must(os.RemoveAll(e.data()))
	if backup != "" {
		e.w.must(os.CopyFS(e.data(), os.DirFS(backup)))
		e.w.must(os.Chmod(e.data(), 0o700))
	}
	e.Run()
}

func (e *Etcd) data() string { return filepath.Join(e.dir, "data") }

// A Break is what becomes of what a host and the server say to each other.
type Break string

const (
	// Silent drops it, and tells neither.
	Silent Break = "drop"
	// Refused ends the connections, and lets no new one come about.
	Refused Break = "reject with tcp reset"
)

// Break keeps a host from the server, and nothing else from anybody. Heal ends
// that.
func (e *Etcd) Break(h *Host, how Break) {
	e.w.t.Helper()
	e.w.must(e.filter(h, fmt.Sprintf("ip saddr %s tcp dport 2379 %s", h.Addr, how),
		fmt.Sprintf("ip daddr %s tcp sport 2379 tcp flags & rst == 0 drop", h.Addr)))
}

// Forget is a middle box that has lost its memory: it silently drops the
// packets of the connections that there are, and lets new ones through.
func (e *Etcd) Forget(h *Host) {
	e.w.t.Helper()
	shown, err := h.NS.Output("ss", "-Htn", "state", "established", "dport", "=", "2379")
	e.w.must(err)
	var ports []string
	for line := range strings.Lines(shown) {
		if fields := strings.Fields(line); len(fields) >= 4 {
			ports = append(ports, fields[2][strings.LastIndexByte(fields[2], ':')+1:])
		}
	}
	if len(ports) == 0 {
		e.w.t.Fatalf("host %s has no connection to etcd: %s", h.Name, shown)
	}
	set := "{ " + strings.Join(ports, ", ") + " }"
	e.w.must(e.filter(h, fmt.Sprintf("ip saddr %s tcp dport 2379 tcp sport %s drop", h.Addr, set),
		fmt.Sprintf("ip daddr %s tcp sport 2379 tcp dport %s drop", h.Addr, set)))
}

// Heal ends Break and Forget.
func (e *Etcd) Heal(h *Host) {
	e.w.t.Helper()
	e.w.must(e.w.Switch.Run("nft", "delete", "table", "ip", "broken-"+h.Name))
}

func (e *Etcd) filter(h *Host, in, out string) error {
	table := "ip broken-" + h.Name
	return e.w.Switch.Run("nft", fmt.Sprintf("add table %[1]s; add chain %[1]s in { type filter hook input priority 0; }; add chain %[1]s out { type filter hook output priority 0; }; "+
		"add rule %[1]s in %[2]s; add rule %[1]s out %[3]s", table, in, out))
}
