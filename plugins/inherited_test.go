package plugins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// An heir is a container that the reference plugins have attached.
type heir struct {
	network, name, ifname string
	port                  int // 0 publishes none
	ns                    *netns.Namespace
}

// plugins are the list's configurations, with everything of which the reference
// leaves traces on the host.
func (e heir) plugins(h *host) []string {
	bridge := fmt.Sprintf(`{"type":"bridge","bridge":"br-%s","isGateway":true,"ipMasq":true,"ipMasqBackend":%q,"macspoofchk":true,
		"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"%s"}],[{"subnet":"%s"}]]}}`,
		e.network, h.backend(), h.state+"/networks", map[string]string{"testnet": "10.88.0.0/24", "another": "10.99.0.0/24"}[e.network],
		map[string]string{"testnet": "fd00:88::/64", "another": "fd00:99::/64"}[e.network])
	publish := ""
	if e.port != 0 {
		publish = fmt.Sprintf(`,"runtimeConfig":{"portMappings":[{"hostPort":%d,"containerPort":80,"protocol":"tcp"}]}`, e.port)
	}
	return []string{
		bridge, fmt.Sprintf(`{"type":"portmap","backend":%q%s}`, h.backend(), publish),
		`{"type":"firewall","backend":"iptables"}`, `{"type":"bandwidth",` + bothLimits + `}`,
	}
}

// each runs a verb of the list.
func (e heir) each(h *host, verb string, keys string) {
	h.t.Helper()
	var previous json.RawMessage
	for _, plugin := range e.plugins(h) {
		if e.ifname != "eth0" && strings.Contains(plugin, "bandwidth") {
			continue // the reference has one device for a container
		}
		c := h.link(verb, e.name, e.ns, strings.Replace(plugin, "{", "{"+keys, 1), previous)
		c.ifname = e.ifname
		c.conf = strings.NewReplacer(`"testnet"`, `"`+e.network+`"`, `"1.0.0"`, `"1.1.0"`).Replace(c.conf)
		a := h.run(c)
		if a.status != 0 {
			h.t.Fatalf("%s %s of %s: %s%s", verb, c.plugin, e.name, a.out, a.stderr)
		}
		if verb == "ADD" {
			previous = a.out
		}
	}
}

func (e heir) add(h *host) {
	h.dir = reference(h.t)
	defer func() { h.dir = "" }()
	e.each(h, "ADD", "")
}

func (h *host) collect(keep ...heir) {
	h.t.Helper()
	var entries []string
	for _, e := range keep {
		entries = append(entries, fmt.Sprintf(`{"containerID":%q,"ifname":%q}`, e.name, e.ifname))
	}
	heir{network: "testnet", name: "any", ifname: "eth0"}.each(h, "GC", `"cni.dev/valid-attachments":[`+strings.Join(entries, ",")+`],`)
}

// TestGCRemovesWhatTheReferenceLeft of containers that have vanished, and leaves
// alone what it made for those that live, for other networks, and for another
// interface of the same container.
func TestGCRemovesWhatTheReferenceLeft(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + backend}
			lives := heir{"testnet", "lives", "eth0", 8080, h.container()}
			two := heir{"testnet", "two", "eth0", 8081, h.container()}
			other := heir{"another", "other", "eth0", 8082, h.container()}
			for _, e := range []heir{lives, two, other} {
				e.add(h)
			}
			want := h.everything()

			gone := heir{"testnet", "gone", "eth0", 8083, h.container()}
			second := two
			second.ifname, second.port = "eth1", 0
			gone.add(h)
			second.add(h)
			on(t, gone.ns, "ip link del eth0") // as the end of its namespace does
			on(t, two.ns, "ip link del eth1")
			h.collect(lives, two, gone, second)
			if h.everything() == want {
				t.Fatal("GC removed what is valid")
			}
			for range 2 {
				h.collect(lives, two)
				if got := h.everything(); got != want {
					t.Fatalf("after GC: %s", difference(want, got))
				}
			}
			h.collect()
			left := h.everything()
			for _, text := range []string{"10.88.0.", "-lives-", "-two-"} {
				if strings.Contains(strings.ReplaceAll(left, "10.88.0.1", ""), text) {
					t.Errorf("still there of %s:\n%s", text, left)
				}
			}
			if !strings.Contains(left, "10.99.0.2") {
				t.Errorf("the other network's rules are gone:\n%s", left)
			}
		})
	}
}

// TestGCFindsChainsWithoutFiles: of a container whose reservation somebody has
// removed only the comments of iptables' rules tell.
func TestGCFindsChainsWithoutFiles(t *testing.T) {
	h := newHost(t)
	h.env = []string{"NETCTL_FIREWALL=iptables"}
	lives := heir{"testnet", "lives", "eth0", 8080, h.container()}
	gone := heir{"testnet", "gone", "eth0", 8081, h.container()}
	other := heir{"another", "other", "eth0", 8082, h.container()}
	for _, e := range []heir{lives, gone, other} {
		e.add(h)
	}
	files, err := filepath.Glob(h.state + "/networks/testnet/*3")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	h.collect(lives)
	rules, err := h.ns.Output("iptables-save", "-t", "nat")
	if err != nil || strings.Contains(rules, `id: \"gone\"`) || strings.Contains(rules, "10.88.0.3") {
		t.Errorf("left: %s, %v", rules, err)
	}
	for _, name := range []string{"lives", "other"} {
		if strings.Count(rules, `id: \"`+name+`\"`) < 3 {
			t.Errorf("rules of %s are gone:\n%s", name, rules)
		}
	}
}

// TestDELRemovesWhatTheReferenceMade with nothing but names, and only that.
func TestDELRemovesWhatTheReferenceMade(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + backend}
			two := heir{"testnet", "two", "eth0", 8081, h.container()}
			heir{"testnet", "lives", "eth0", 8080, h.container()}.add(h)
			two.add(h)
			want := h.everything()
			heir{"testnet", "nobody", "eth0", 0, nil}.delete(h) // the ledger learns where the files are
			if got := h.everything(); got != want {
				t.Errorf("after DEL of nobody: %s", difference(want, got))
			}
			second := two
			second.ifname, second.port = "eth1", 0
			second.add(h)
			on(t, two.ns, "ip link del eth1")
			second.ns = nil
			second.delete(h)
			if got := h.everything(); got != want {
				t.Errorf("after DEL of the second interface: %s", difference(want, got))
			}
		})
	}
}

// delete calls the plugins that a DEL of the list calls, last first.
func (e heir) delete(h *host) {
	h.t.Helper()
	for _, plugin := range []string{"bandwidth", "firewall", "portmap", "bridge"} {
		for _, conf := range e.plugins(h) {
			if strings.Contains(conf, `"type":"`+plugin+`"`) {
				c := h.link("DEL", e.name, e.ns, conf, nil)
				c.ifname = e.ifname
				h.must(c)
			}
		}
	}
}
