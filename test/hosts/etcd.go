package hosts

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"net"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/plugins/overlay/control"
)

// Etcd is a server (Debian's etcd-server) on the switch.
type Etcd struct {
	w       *World
	dir     string
	process *exec.Cmd
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
	more["endpoints"] = []string{EtcdEndpoint}
	data, err := json.Marshal(map[string]any{"etcd": more})
	h.w.must(err)
	h.w.must(os.WriteFile(h.Settings(), data, 0o600))
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
	e.process = exec.Command("etcd", "--data-dir", filepath.Join(e.dir, "data"), "--listen-client-urls", EtcdEndpoint+",unix://client:1", "--advertise-client-urls", EtcdEndpoint,
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
	return h.Control().Create(context.Background(), control.CreateNetwork{Name: name, Ranges: prefixes, PoolBits4: bits, Definition: planned.List})
}
