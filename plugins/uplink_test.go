package plugins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// ports takes ports of br0 away.
func (h *host) ports(first, last int) {
	h.t.Helper()
	var batch strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintf(&batch, "link add p%d master br0 type ifb\n", i)
	}
	file := h.t.TempDir() + "/batch"
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		h.t.Fatal(err)
	}
	on(h.t, h.ns, "ip -batch "+file)
}

// wantTalk has a namespace reach a server.
func wantTalk(t *testing.T, from *netns.Namespace, address string) {
	t.Helper()
	if got, err := ask(from, address); err != nil || got != "hello" {
		t.Errorf("to %s: %q, %v", address, got, err)
	}
}

// fullBridge is a network whose bridge has no port left: "a" has one of the
// last, "b" and "c" come after.
func fullBridge(t *testing.T, keys string) (h *host, ns map[string]*netns.Namespace, last map[string]json.RawMessage) {
	t.Helper()
	h = newHost(t)
	ns, last = map[string]*netns.Namespace{}, map[string]json.RawMessage{}
	on(t, h.ns, "ip link add br0 type bridge")
	h.ports(1, 1000)
	for i, name := range []string{"a", "b", "c"} {
		ns[name] = h.container()
		publish := fmt.Sprintf(`,"runtimeConfig":{"portMappings":[{"hostPort":%d,"containerPort":80}]}`, 8081+i)
		last[name] = h.added(bridgeCall("ADD", name, ns[name], "1.1.0", keys+publish))
		serve(t, ns[name], "[::]:80", "hello")
		if name == "a" {
			h.ports(1003, 1023) // a has 1001, the uplink 1002
			h.must(call{verb: "STATUS", plugin: "bridge", conf: bridgeConf("1.1.0", keys)})
		}
	}
	shows(t, ns["b"], "ip -d link show eth0", "macvlan")
	return h, ns, last
}

// TestMoreContainersThanPorts: containers beyond the bridge's 1,023 ports are
// on the same segment, with the same gateway and the same published ports.
func TestMoreContainersThanPorts(t *testing.T) {
	h, ns, last := fullBridge(t, "")
	addresses := []string{"10.88.0.2:80", "[fd00:88::2]:80", "10.88.0.3:80", "[fd00:88::3]:80", "10.88.0.4:80", "[fd00:88::4]:80"}
	for from := range ns {
		for _, a := range addresses {
			wantTalk(t, ns[from], a)
		}
		// By the gateway's address: a published port, the container's own too.
		for _, port := range []string{"8081", "8082", "8083"} {
			wantTalk(t, ns[from], "10.88.0.1:"+port)
		}
		// The gateway's hardware address is the bridge's, never the uplink's.
		shows(t, ns[from], "ip neigh show 10.88.0.1", macOf(t, h.ns, "br0"))
	}
	for _, port := range []string{"8081", "8082", "8083"} {
		wantTalk(t, h.ns, "127.0.0.1:"+port)
	}
	check := bridgeCall("CHECK", "b", ns["b"], "1.1.0", `,"prevResult":`+string(last["b"]))
	h.must(check)
	if f := h.refuse(bridgeCall("ADD", "limited", h.container(), "1.1.0", `,"runtimeConfig":{"bandwidth":{`+bothLimits+`}}`)); !strings.Contains(f.Msg, "macvlan") {
		t.Errorf("bandwidth behind the uplink: %+v", f)
	}
	on(t, h.ns, "ip link set "+uplink(t, h.ns)+" nomaster")
	if f := h.refuse(check); !strings.Contains(f.Msg, "is not a port of bridge br0") {
		t.Errorf("CHECK without the uplink: %+v", f)
	}
	on(t, h.ns, "ip link set "+uplink(t, h.ns)+" master br0")
	for name := range ns {
		h.must(bridgeCall("DEL", name, ns[name], "1.1.0", ""))
		if err := ns[name].Run("ip", "link", "show", "eth0"); err == nil {
			t.Errorf("%s: eth0 is there after DEL", name)
		}
	}
}

// TestIsolatedContainersBehindTheUplink reach the gateway and nobody else.
func TestIsolatedContainersBehindTheUplink(t *testing.T) {
	h, ns, _ := fullBridge(t, `,"portIsolation":true`)
	serve(t, h.ns, "10.88.0.1:90", "hello")
	for from, to := range map[string]string{"a": "10.88.0.3:80", "b": "10.88.0.2:80", "c": "10.88.0.3:80"} {
		if got, err := askBriefly(ns[from], to); err == nil {
			t.Errorf("%s reaches %s: %q", from, to, got)
		}
		wantTalk(t, ns[from], "10.88.0.1:90")
	}
}

// uplink is the name of br0's uplink port.
func uplink(t *testing.T, host *netns.Namespace) string {
	t.Helper()
	out, err := host.Output("sh", "-c", "ls -d /proc/sys/net/ipv4/conf/nupl*")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(strings.TrimSpace(out), "/")
	return fields[len(fields)-1]
}

func macOf(t *testing.T, ns *netns.Namespace, link string) string {
	t.Helper()
	out, err := ns.Output("ip", "-o", "link", "show", link)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(out, "link/ether ")
	mac, _, _ := strings.Cut(rest, " ")
	return mac
}
