package netctl

import (
	"context"
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// home is a set of private directories and netctl called on them. Its tests
// stay away from whatever reaches the kernel; scripts have namespaces for that.
type home struct {
	t    *testing.T
	root string
}

func newHome(t *testing.T) home { return home{t, t.TempDir()} }

func (h home) dir(name string) string { return filepath.Join(h.root, name) }

// netctl runs a command line and returns its status and output.
func (h home) netctl(line ...string) (status int, stdout, stderr string) {
	var out, err strings.Builder
	line = append([]string{"--state-dir", h.dir("state"), "--data-dir", h.dir("data"), "--conf-dir", h.dir("conf")}, line...)
	status = Main(context.Background(), line, strings.NewReader(""), &out, &err)
	return status, out.String(), err.String()
}

func (h home) must(line ...string) string {
	h.t.Helper()
	status, out, err := h.netctl(line...)
	if status != 0 {
		h.t.Fatalf("netctl %s: status %d: %s", strings.Join(line, " "), status, err)
	}
	return out
}

// attach records an attachment as the plugins do.
func (h home) attach(network, container, address string) {
	h.t.Helper()
	l, err := ledger.Open(h.dir("state"))
	if err == nil {
		err = l.Update(func(tx *ledger.Tx) error {
			return tx.Put(ledger.Record{
				Key:       ledger.Key{Network: network, Container: container, IfName: "eth0"},
				Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix(address)}},
				Plugin:    "bridge",
			})
		})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// container records a container that is configured for a network.
func (h home) container(name, network string, status runner.Status) string {
	h.t.Helper()
	s := store.Open(h.dir("state"), h.dir("data"))
	cfg := &runner.Config{ID: runner.NewID(), Name: name, Endpoints: []runner.Endpoint{{Network: network, IfName: "eth0"}}}
	if err := s.Create(cfg); err != nil {
		h.t.Fatal(err)
	}
	state := runner.State{Status: status, Attached: []runner.Attached{{Network: network, IfName: "eth0", MAC: "02:00:00:00:00:07"}}}
	if err := s.SetState(cfg.ID, state); err != nil {
		h.t.Fatal(err)
	}
	return string(cfg.ID)
}

func TestNetworkInUse(t *testing.T) {
	h := newHome(t)
	h.must("create", "my-bridge", "--subnet", "10.88.0.0/24")
	h.must("create", "other", "--subnet", "10.77.0.0/24")
	web := h.container("web", "my-bridge", runner.StatusRunning)
	db := h.container("db", "my-bridge", runner.StatusExited)
	h.attach("my-bridge", web, "10.88.0.2/24")
	pod := strings.Repeat("9", 64)
	h.attach("my-bridge", pod, "10.88.0.3/24")

	status, _, stderr := h.netctl("network", "rm", "my-bridge")
	want := "Error: network my-bridge is in use by: container of another runtime (999999999999, attached), " +
		"db (" + db[:12] + ", exited), web (" + web[:12] + ", running)\n" +
		"hint: disconnect them first with 'netctl network disconnect -f my-bridge CONTAINER', or remove them with 'netctl rm -f'\n"
	if status != ExitInUse || stderr != want {
		t.Errorf("status %d\n%swant\n%s", status, stderr, want)
	}
	if status, _, _ := h.netctl("network", "exists", "my-bridge"); status != 0 {
		t.Error("the refusal removed the network")
	}
	if out := h.must("network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}"); out != "other\n" {
		t.Errorf("dangling: %q", out)
	}

	// inspect shows stopped containers too, and counts addresses.
	var objects []networkObject
	if err := json.Unmarshal([]byte(h.must("network", "inspect", "my-bridge")), &objects); err != nil {
		t.Fatal(err)
	}
	containers := objects[0].Containers
	if c := containers[web]; c.Name != "web" || c.State != "running" || c.IPv4Address != "10.88.0.2/24" || c.MacAddress != "02:00:00:00:00:07" || len(c.EndpointID) != 64 {
		t.Errorf("web: %+v", c)
	}
	if c := containers[db]; c.Name != "db" || c.State != "exited" || c.IPv4Address != "" {
		t.Errorf("db: %+v", c)
	}
	if c := containers[pod]; c.Name != "" || c.IPv4Address != "10.88.0.3/24" {
		t.Errorf("pod: %+v", c)
	}
	if s := objects[0].Status.IPAM.Subnets["10.88.0.0/24"]; s.IPsInUse != 2 || s.DynamicIPsAvailable.String() != "251" {
		t.Errorf("addresses: %+v", s)
	}
}
