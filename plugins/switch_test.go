package plugins_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// referenceList is a list that both kinds of binaries understand.
func referenceList(h *host, backend string, port int) []string {
	return []string{
		fmt.Sprintf(`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipMasqBackend":%q,"hairpinMode":true,
		  "ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`, backend, h.state+"/networks"),
		fmt.Sprintf(`{"type":"portmap","backend":%q,"runtimeConfig":{"portMappings":[{"hostPort":%d,"containerPort":80,"protocol":"tcp"}]}}`, backend, port),
		`{"type":"firewall","backend":"iptables"}`,
	}
}

// inherited lists what the reference plugins have on the host for containers.
func (h *host) inherited() string {
	h.t.Helper()
	out, err := h.ns.Output("sh", "-c", `{
		iptables-save | grep -E 'CNI-DN-|id: "|CNI-FORWARD .*10.88.0'
		nft list table ip cni_hostport | grep 10.88.0
		nft list table inet cni_plugins_masquerade | grep 10.88.0
		} 2>/dev/null || true`)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// TestALiveNodeIsSwitched from the reference binaries to ours and back, in the
// middle of containers' lives: no address is given twice, CHECK gives no alarm,
// what lives stays reachable, and each DEL removes what the other side made.
func TestALiveNodeIsSwitched(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + backend}
			theirs, ours := reference(t), ""
			containers := map[string]*netns.Namespace{}
			results := map[string]json.RawMessage{}
			ports := map[string]int{"a": 8080, "b": 8081, "c": 8082, "d": 8083}
			list := func(name string) []string { return referenceList(h, backend, ports[name]) }
			add := func(name string) {
				containers[name] = h.container()
				results[name] = h.chain("ADD", name, containers[name], list(name), nil)
				serve(t, containers[name], addressOf(t, results[name])+":80", name)
			}
			reachable := func(names ...string) {
				t.Helper()
				for _, name := range names {
					if got, err := ask(h.ns, fmt.Sprintf("127.0.0.1:%d", ports[name])); err != nil || got != name {
						t.Errorf("port of %s: %q, %v", name, got, err)
					}
				}
				for i, from := range names {
					for _, to := range slices.Delete(slices.Clone(names), i, i+1) {
						if got, err := ask(containers[from], addressOf(t, results[to])+":80"); err != nil || got != to {
							t.Errorf("%s from %s: %q, %v", to, from, got, err)
						}
					}
				}
			}

			h.dir = theirs
			add("a")
			add("b")
			reachable("a", "b")
			if h.inherited() == "" {
				t.Error("nothing of the reference plugins was found")
			}

			h.dir = ours
			add("c")
			reachable("a", "b", "c")
			for _, name := range []string{"a", "b", "c"} {
				h.chain("CHECK", name, containers[name], list(name), results[name])
			}
			h.chain("DEL", "a", containers["a"], list("a"), results["a"])
			if out, err := containers["a"].Output("ip", "-o", "link"); err != nil || strings.Contains(out, "eth0") {
				t.Errorf("the interface is still there: %s, %v", out, err)
			}
			reachable("b", "c")
			h.chain("DEL", "b", nil, list("b"), results["b"]) // as nerdctl does it
			if left := h.inherited(); left != "" {
				t.Errorf("left of the reference plugins:\n%s", left)
			}

			h.dir = theirs
			add("d")
			reachable("c", "d")
			h.chain("DEL", "c", containers["c"], list("c"), results["c"])
			h.dir = ours
			if backend == "iptables" {
				h.chain("DEL", "c", containers["c"], list("c"), results["c"]) // what only we know of
			} else { // as docs/cni.md has it
				h.gc(list("c"), `{"containerID":"d","ifname":"eth0"},{"containerID":"b","ifname":"eth0"}`)
				reachable("d")
			}
			h.chain("DEL", "d", containers["d"], list("d"), results["d"])
			on(t, containers["b"], "ip link del eth0") // as the end of its namespace does
			eventually(t, "the link to be gone", func() bool { return h.residue() == "" })
			if left := h.inherited(); left != "" {
				t.Errorf("left of the reference plugins:\n%s", left)
			}
			var given []string
			for _, result := range results {
				given = append(given, addressOf(t, result))
			}
			slices.Sort(given)
			if len(slices.Compact(given)) != len(results) {
				t.Errorf("an address was given twice: %v", given)
			}
			if files, _ := filepath.Glob(h.state + "/networks/testnet/10.*"); len(files) > 0 {
				t.Errorf("still reserved: %v", files)
			}
		})
	}
}

func addressOf(t *testing.T, data json.RawMessage) string {
	t.Helper()
	var r result
	if err := json.Unmarshal(data, &r); err != nil || len(r.IPs) == 0 {
		t.Fatalf("result %s: %v", data, err)
	}
	address, _, _ := strings.Cut(r.IPs[0].Address, "/")
	return address
}

// TestDELOfAnUnknownAttachmentLeavesOthersAlone: a container's interface that
// belongs to another network, or to nobody we know of, is not ours to delete.
func TestDELOfAnUnknownAttachmentLeavesOthersAlone(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	h.must(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	other := bridgeCall("DEL", "a", ns, "1.1.0", "")
	other.conf = strings.Replace(other.conf, `"testnet"`, `"another"`, 1)
	h.must(other)
	shows(t, ns, "ip -o link show eth0", "eth0")
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", ""))

	on(t, h.ns, "ip link add br9 type bridge; ip link add foreign master br9 type veth peer name eth0 netns "+ns.Path())
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", ""))
	shows(t, ns, "ip -o link show eth0", "eth0")
}

// TestAHostLinkOfThePreviousResultJoinsTheBridge: a tap device, for instance,
// that the plugin before has made (CNI conventions). DEL lets it go; a link that
// is used otherwise stays where it is.
func TestAHostLinkOfThePreviousResultJoinsTheBridge(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	on(t, h.ns, `ip link add tap0 type veth peer name far0; ip link add routed type veth peer name far1; ip addr add 192.0.2.1/24 dev routed
		ip link add other type bridge; ip link add port type veth peer name far2; ip link set port master other`)
	previous := json.RawMessage(`{"cniVersion":"1.1.0","interfaces":[{"name":"tap0"},{"name":"routed"},{"name":"port"},{"name":"other"},{"name":"gone"},{"name":"lo"}]}`)
	c := bridgeCall("ADD", "a", ns, "1.1.0", `,"portIsolation":true,"prevResult":`+string(previous))
	made := h.added(c)
	var r result
	if err := json.Unmarshal(made, &r); err != nil || len(r.Interfaces) != 9 {
		t.Errorf("result: %s, %v", made, err)
	}
	shows(t, h.ns, "ip -o -d link show tap0", "master br0", "isolated on", "hairpin on", ",UP")
	for _, command := range []string{"ip -o link show routed | grep -v master", "ip -o link show port | grep 'master other'"} {
		shows(t, h.ns, command, "far")
	}
	check := c
	check.verb, check.conf = "CHECK", strings.Replace(c.conf, string(previous), string(made), 1)
	h.must(check)
	on(t, h.ns, "ip link set tap0 nomaster")
	if f := h.refuse(check); !strings.Contains(f.Msg, "tap0") {
		t.Errorf("CHECK: %+v", f)
	}
	on(t, h.ns, "ip link set tap0 master br0")
	h.must(bridgeCall("DEL", "a", nil, "1.1.0", ""))
	shows(t, h.ns, "ip -o link show tap0 | grep -v master", "tap0")
	h.must(bridgeCall("DEL", "a", nil, "1.1.0", ""))
}
