package plugins_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// The kernels of these tests come without the filter more often than not: then
// the tests want an error that says so, and nothing left. "make vmtest" runs
// them on one that has it.

func (h *host) filtersVLANs() bool {
	return h.ns.Run("sh", "-ec", "ip link add probe type bridge; ip link set probe type bridge vlan_filtering 1; ip link del probe") == nil
}

func (h *host) refuseVLANs(add call) {
	h.t.Helper()
	if f := h.refuse(add); f.Code != 100 || !strings.Contains(f.Msg, "need a kernel with CONFIG_BRIDGE_VLAN_FILTERING") {
		h.t.Errorf("%+v", f)
	}
	h.wantClean()
}

// TestVLANs: the host is the gateway in the containers' VLAN.
func TestVLANs(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	keys := `,"vlan":100,"vlanTrunk":[{"minID":200,"maxID":202}]`
	if !h.filtersVLANs() {
		h.refuseVLANs(bridgeCall("ADD", "a", ns, "1.1.0", keys))
		return
	}
	last := h.added(bridgeCall("ADD", "a", ns, "1.1.0", keys))
	h.must(bridgeCall("CHECK", "a", ns, "1.1.0", keys+`,"prevResult":`+string(last)))
	serve(t, ns, "10.88.0.2:80", "a")
	if got, err := ask(h.ns, "10.88.0.2:80"); err != nil || got != "a" {
		t.Errorf("through br0.100: %q, %v", got, err)
	}
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", keys))
}

// TestVLANsAreAsTyped: the golden commands of the mode, typed into an empty
// host, and the plugin put the ports into the same VLANs.
func TestVLANsAreAsTyped(t *testing.T) {
	for golden, keys := range map[string]string{
		"vlan":              `"vlan":100`,
		"vlan-keep-default": `"vlan":100,"preserveDefaultVlan":true`,
		"vlan-gateway":      `"vlan":100,"isDefaultGateway":true,"ipam":{"type":"static","addresses":[{"address":"10.88.0.2/16","gateway":"10.88.0.1"}]}`,
		"vlan-trunk":        `"vlanTrunk":[{"id":200},{"minID":100,"maxID":102},{"minID":102,"maxID":105,"id":1}]`,
		"vlan-and-trunk":    `"vlan":101,"vlanTrunk":[{"minID":100,"maxID":102}]`,
	} {
		t.Run(golden, func(t *testing.T) {
			h, ns := newHost(t), newHost(t)
			add := call{verb: "ADD", plugin: "bridge", container: "web", netns: h.container().Path(),
				conf: fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":"bridge",%s}`, keys)}
			if !h.filtersVLANs() {
				h.refuseVLANs(add)
				return
			}
			h.must(add)
			typeVLANs(t, "bridge/testdata/"+golden+".golden", ns.ns, ns.container())
			if got, want := vlansOf(t, h.ns), vlansOf(t, ns.ns); got != want {
				t.Errorf("bridge vlan show:\n%s\nas typed:\n%s", got, want)
			}
		})
	}
}

// typeVLANs types the golden commands that make the bridge, its ports, and
// their VLANs.
func typeVLANs(t *testing.T, golden string, host, web *netns.Namespace) {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	there := strings.NewReplacer("mtu DEFAULT-ROUTE-MTU", "", "netns web", "netns "+web.Path())
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ip link add ") || strings.HasPrefix(line, "bridge ") {
			on(t, host, there.Replace(strings.TrimSpace(line)))
		}
	}
}

// vlansOf are the ports' VLANs, port by port.
func vlansOf(t *testing.T, ns *netns.Namespace) string {
	t.Helper()
	out, err := ns.Output("bridge", "-o", "vlan", "show")
	if err != nil {
		t.Fatal(err)
	}
	ports := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(ports)
	return strings.Join(ports, "\n")
}
