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

// after is a call of a chained plugin on eth0 of a container.
func after(previous json.RawMessage, verb, plugin, container string, ns *netns.Namespace, keys string) call {
	c := call{verb: verb, plugin: plugin, container: container}
	if ns != nil {
		c.netns = ns.Path()
	}
	if previous != nil {
		keys += `,"prevResult":` + string(previous)
	}
	c.conf = fmt.Sprintf(`{"cniVersion":"1.1.0","name":"testnet","type":%q%s}`, plugin, keys)
	return c
}

// added runs a call that has to succeed and gives its result as it came.
func (h *host) added(c call) json.RawMessage {
	h.t.Helper()
	a := h.run(c)
	if a.status != 0 {
		h.t.Fatalf("%s %s: %s%s", c.verb, c.plugin, a.out, a.stderr)
	}
	return a.out
}

// shows runs a command and wants these texts in what it prints.
func shows(t *testing.T, ns *netns.Namespace, command string, texts ...string) {
	t.Helper()
	out, err := ns.Output("sh", "-c", command)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("%s: no %q in\n%s", command, text, out)
		}
	}
}

const (
	linkOf = "ip -d -o link show eth0"
	plain  = " mtu 1500 "
)

func TestTuningChangesAndRestores(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	dir := filepath.Join(t.TempDir(), "tuning")
	keys := fmt.Sprintf(`,"dataDir":%q,"mac":"02:00:00:00:00:77","mtu":1300,"promisc":true,"allmulti":true,"txQLen":99,
		"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1","net/core/somaxconn":"500","net.ipv4.tcp_rmem":"4096 100000 200000"}`, dir)
	first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	before := h.must(after(first, "ADD", "tuning", "a", ns, "")) // nothing to do: what was, as text
	last := h.added(after(first, "ADD", "tuning", "a", ns, keys))

	shows(t, ns, linkOf, " mtu 1300 ", "02:00:00:00:00:77", "PROMISC", "ALLMULTI", "qlen 99")
	shows(t, ns, "sysctl net.ipv4.conf.eth0.arp_filter net.core.somaxconn", "arp_filter = 1", "somaxconn = 500")
	var result struct {
		Interfaces []struct {
			Name, Mac string
			Mtu       int
		}
	}
	if err := json.Unmarshal(last, &result); err != nil {
		t.Fatal(err)
	}
	if eth0 := result.Interfaces[2]; eth0.Mac != "02:00:00:00:00:77" || eth0.Mtu != 1300 || eth0.Name != "eth0" {
		t.Errorf("result: %+v", result)
	}
	if veth := result.Interfaces[1]; veth.Mtu != 1500 || veth.Mac != before.Interfaces[1].Mac {
		t.Errorf("the host's end changed: %+v", result)
	}
	file := filepath.Join(dir, "a_eth0.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v, %v", info, err)
	}
	h.must(after(last, "CHECK", "tuning", "a", ns, keys))
	h.must(bridgeCall("CHECK", "a", ns, "1.1.0", `,"prevResult":`+string(last)))

	h.must(after(last, "DEL", "tuning", "a", ns, keys))
	shows(t, ns, linkOf, plain, before.Interfaces[2].Mac, "qlen 1000", "promiscuity 0")
	if out, _ := ns.Output("ip", "-o", "link", "show", "eth0"); strings.Contains(out, "PROMISC") || strings.Contains(out, "ALLMULTI") {
		t.Errorf("not restored: %s", out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	h.must(after(nil, "DEL", "tuning", "a", ns, ""))
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", ""))
	h.wantClean()
}

// TestTuningCheck finds what is changed, and leaves alone what others have set.
func TestTuningCheck(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	keys := fmt.Sprintf(`,"dataDir":%q,"mtu":1300,"txQLen":99,"allmulti":false,"sysctl":{"net.core.somaxconn":"500"}`, t.TempDir())
	last := h.added(after(h.added(bridgeCall("ADD", "a", ns, "1.1.0", "")), "ADD", "tuning", "a", ns, keys))
	check := after(last, "CHECK", "tuning", "a", ns, keys)
	if err := ns.Run("ip", "link", "set", "eth0", "promisc", "on"); err != nil {
		t.Fatal(err)
	}
	h.must(check)
	for _, c := range []struct{ broken, mended, want string }{
		{"ip link set eth0 mtu 1400", "ip link set eth0 mtu 1300", "MTU of eth0 is 1400, not 1300"},
		{"ip link set eth0 txqueuelen 5", "ip link set eth0 txqueuelen 99", "transmit queue length of eth0 is 5, not 99"},
		{"ip link set eth0 allmulticast on", "ip link set eth0 allmulticast off", "all-multicast mode of eth0 is not false"},
		{"sysctl -w net.core.somaxconn=7", "sysctl -w net.core.somaxconn=500", `sysctl net.core.somaxconn=500 has the value "7" now`},
	} {
		if err := ns.Run("sh", "-c", c.broken); err != nil {
			t.Fatal(err)
		}
		if f := h.refuse(check); f.Code != 109 || f.Msg != c.want {
			t.Errorf("%s: %+v", c.broken, f)
		}
		if err := ns.Run("sh", "-c", c.mended); err != nil {
			t.Fatal(err)
		}
		h.must(check)
	}
}

// TestTuningLeavesNothing: the file goes with an attachment whose namespace is
// gone or not named, also by GC, and also where the reference plugin wrote it.
func TestTuningLeavesNothing(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	keys := fmt.Sprintf(`,"dataDir":%q,"mtu":1300`, dir)
	empty := func(after string) {
		t.Helper()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left after %s: %v, %v", after, left, err)
		}
	}
	add := func() json.RawMessage {
		ns := h.container()
		defer ns.Close()
		return h.added(after(h.added(bridgeCall("ADD", "a", ns, "1.1.0", "")), "ADD", "tuning", "a", ns, keys))
	}
	for _, c := range []call{
		after(nil, "DEL", "tuning", "a", nil, ""), // neither result nor directory
		{verb: "DEL", plugin: "tuning", container: "a", netns: "/nonexistent", conf: `{"cniVersion":"0.4.0","name":"testnet","type":"tuning"}`},
		after(nil, "GC", "tuning", "", nil, `,"cni.dev/valid-attachments":[]`),
	} {
		add()
		h.must(c)
		empty(c.verb + " " + c.netns)
		h.must(bridgeCall("DEL", "a", nil, "1.1.0", ""))
	}

	ns := h.container()
	first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	if err := ns.Run("ip", "link", "set", "eth0", "mtu", "1234"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a_eth0.json"), []byte("{\n \"mtu\": 1500\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must(after(first, "DEL", "tuning", "a", ns, keys))
	shows(t, ns, linkOf, plain)
	empty("DEL of what the reference plugin made")
	h.must(bridgeCall("DEL", "a", nil, "1.1.0", ""))
	h.wantClean()
}

// TestTuningFails: an ADD that fails half-way puts back what it has changed.
func TestTuningFails(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	dir := t.TempDir()
	first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	before := h.residue()
	for keys, want := range map[string]string{
		`,"mtu":1300,"txQLen":4294967296`:              "key txQLen: invalid value 4294967296",
		`,"mac":"02:00:00:00:00:77","mtu":40`:          "set MTU 40 of eth0: invalid argument",
		`,"mtu":1300,"sysctl":{"net.nope":"1"}`:        "set sysctl net.nope=1: ",
		`,"sysctl":{"net.core.a":"1","net/core/a":""}`: "net/core/a is there twice",
	} {
		f := h.refuse(after(first, "ADD", "tuning", "a", ns, fmt.Sprintf(`,"dataDir":%q`, dir)+keys))
		if !strings.Contains(f.Msg, want) {
			t.Errorf("%s: %+v", keys, f)
		}
		shows(t, ns, linkOf, plain, "qlen 1000")
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || h.residue() != before {
			t.Errorf("%s: left %v, %v, %s", keys, left, err, h.residue())
		}
	}
}

// TestTuningObeysTheAllowlist, in a mount namespace with an /etc of its own.
func TestTuningObeysTheAllowlist(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	on(t, ns, "sysctl -qw net.ipv4.ip_forward=0") // a new namespace has the machine's
	first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	add := func(key string) call {
		c := after(first, "ADD", "tuning", "a", ns, fmt.Sprintf(`,"sysctl":{%q:"1"}`, key))
		c.prefix = []string{"unshare", "-m", "sh", "-ec", `mount -t tmpfs none /etc; mkdir -p /etc/cni/tuning
			echo '^net\.ipv4\.conf\.IFNAME\.arp_' >/etc/cni/tuning/allowlist.conf; exec "$@"`, "sh"}
		return c
	}
	h.added(add("net.ipv4.conf.IFNAME.arp_filter"))
	if f := h.refuse(add("net.ipv4.ip_forward")); f.Code != 7 || f.Msg != `key sysctl: "net.ipv4.ip_forward" is not allowed on this host` ||
		!strings.Contains(f.Details, "/etc/cni/tuning/allowlist.conf") {
		t.Errorf("%+v", f)
	}
	shows(t, ns, "sysctl net.ipv4.ip_forward", "= 0")
}
