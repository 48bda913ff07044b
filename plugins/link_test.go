package plugins_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// on runs commands in a namespace.
func on(t *testing.T, ns *netns.Namespace, commands string) {
	t.Helper()
	if err := ns.Run("sh", "-ec", commands); err != nil {
		t.Fatal(err)
	}
}

// TestAFailedADDCanBeRepeated: whatever fails, nothing is left, and the next
// ADD with what was wrong put right works.
func TestAFailedADDCanBeRepeated(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	for name, c := range map[string]struct{ keys, broken, mended string }{
		"route":      {`,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]],"routes":[{"dst":"192.0.2.0/24","gw":"172.31.0.1"}]}`, "true", "true"},
		"IPAM":       {`,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/30","rangeStart":"10.88.0.2","rangeEnd":"10.88.0.2"}]]},"runtimeConfig":{"ips":["10.88.0.3"]}`, "true", "true"},
		"not bridge": {"", "ip link add br0 type ifb", "ip link del br0"},
		"VLAN":       {`,"vlan":5`, "true", "true"},
		"there": {"", "nsenter --net=" + ns.Path() + " ip link add eth0 mtu 1234 type ifb", "nsenter --net=" + ns.Path() +
			" sh -ec 'ip link show eth0 | grep -q mtu.1234; ip link del eth0'"},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, h.ns, "ip link del br0 2>/dev/null || true; "+c.broken)
			h.refuse(bridgeCall("ADD", "a", ns, "1.1.0", c.keys))
			h.wantClean()
			on(t, h.ns, c.mended)
			if out, err := ns.Output("ip", "-o", "link"); err != nil || strings.Contains(out, "eth0") {
				t.Errorf("left in the container: %s, %v", out, err)
			}
			h.must(bridgeCall("ADD", "a", ns, "1.1.0", ""))
			h.must(bridgeCall("DEL", "a", ns, "1.1.0", ""))
		})
	}
}

// TestInterfacesOfOneContainer: a second one gets another address, also when
// both are made at the same time.
func TestInterfacesOfOneContainer(t *testing.T) {
	const n = 8
	h := newHost(t)
	ns := h.container()
	name := func(i int) string { return fmt.Sprintf("eth%d", i) }
	seen := map[string]bool{}
	addresses := make([]string, n)
	add := func(i int) {
		c := bridgeCall("ADD", "a", ns, "1.1.0", "")
		c.ifname = name(i)
		addresses[i] = h.must(c).IPs[0].Address
	}
	add(0)
	each(n-1, func(i int) { add(i + 1) })
	for i, address := range addresses {
		if seen[address] {
			t.Errorf("%s twice", address)
		}
		seen[address] = true
		shows(t, ns, "ip -o -4 addr show "+name(i), address)
	}
	each(n, func(i int) {
		c := bridgeCall("DEL", "a", ns, "1.1.0", "")
		c.ifname = name(i)
		h.must(c)
	})
	h.wantClean()
}

// TestIPv6IsReadyAtOnce: on a link that is ours alone no address is tentative
// when ADD returns, and only that link and lo have been changed.
func TestIPv6IsReadyAtOnce(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	on(t, ns, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip link add other type ifb")
	start := time.Now()
	h.must(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	if out, err := ns.Output("ip", "-6", "addr", "show", "dev", "eth0"); err != nil || strings.Contains(out, "tentative") || !strings.Contains(out, "fd00:88::2/64") {
		t.Errorf("%s, %v, after %s", out, err, time.Since(start))
	}
	shows(t, ns, "cd /proc/sys/net/ipv6/conf; grep . */disable_ipv6 */accept_dad | sed 's|/|.|; s|:| = |'", "all.disable_ipv6 = 1", "other.disable_ipv6 = 1", "lo.disable_ipv6 = 0", "eth0.disable_ipv6 = 0", "eth0.accept_dad = 0", "default.accept_dad = 1")
	if got, err := ask(ns, "[fd00:88::1]:1"); !strings.Contains(fmt.Sprint(err), "refused") {
		t.Errorf("the gateway: %q, %v", got, err)
	}
}

// TestDuplicateAddressesAreReported where others can have the same address: on
// the network of a macvlan's parent.
func TestDuplicateAddressesAreReported(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	on(t, h.ns, `ip link add parent type veth peer name far; ip link set parent up; ip link set far up
		sysctl -qw net.ipv6.conf.far.accept_dad=0; ip addr add 2001:db8::7/64 dev far nodad`)
	macvlan := func(verb, address string) call {
		return call{verb: verb, plugin: "macvlan", container: "a", netns: ns.Path(), conf: fmt.Sprintf(`{"cniVersion":"1.1.0","name":"testnet","type":"macvlan",
			"master":"parent","ipam":{"type":"static","addresses":[{"address":%q}]}}`, address)}
	}
	f := h.refuse(macvlan("ADD", "2001:db8::7/64"))
	if f.Code != 100 || !strings.Contains(f.Msg, "address 2001:db8::7/64 of eth0 is in use by another machine") {
		t.Errorf("%+v", f)
	}
	h.wantClean()
	if out, _ := ns.Output("ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("left: %s", out)
	}
	h.must(macvlan("ADD", "2001:db8::8/64"))
	if out, err := ns.Output("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); err != nil || strings.Contains(out, "tentative") || !strings.Contains(out, "2001:db8::8") {
		t.Errorf("%s, %v", out, err)
	}
	h.must(macvlan("DEL", "2001:db8::8/64"))
}

// TestEnableDAD has the detection on a bridge too.
func TestEnableDAD(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	on(t, h.ns, `ip link add br0 type bridge; ip link set br0 up; ip link add p type veth peer name q; ip link set p master br0 up; ip link set q up
		sysctl -qw net.ipv6.conf.q.accept_dad=0; ip addr add fd00:88::2/64 dev q nodad`)
	if f := h.refuse(bridgeCall("ADD", "a", ns, "1.1.0", `,"enabledad":true`)); !strings.Contains(f.Msg, "fd00:88::2/64 of eth0 is in use") {
		t.Errorf("%+v", f)
	}
	on(t, h.ns, "ip addr del fd00:88::2/64 dev q")
	h.must(bridgeCall("ADD", "a", ns, "1.1.0", `,"enabledad":true`))
	shows(t, ns, "sysctl net.ipv6.conf.eth0.accept_dad net.ipv6.conf.eth0.enhanced_dad", "eth0.accept_dad = 1", "eth0.enhanced_dad = 1")
	if out, err := ns.Output("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); err != nil || strings.Contains(out, "tentative") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestReadOnlySysctls: where every parameter that matters has the right value
// nothing has to be written.
func TestReadOnlySysctls(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	readOnly := []string{"unshare", "-m", "sh", "-ec", `mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec "$@"`, "sh"}
	c := bridgeCall("ADD", "a", ns, "1.1.0", "")
	c.prefix = readOnly
	if f := h.refuse(c); !strings.Contains(f.Msg, "set sysctl net.ipv6.conf.br0.accept_ra=0") || !strings.Contains(f.Msg, "read-only") {
		t.Errorf("wrong values: %+v", f)
	}
	h.wantClean()
	on(t, h.ns, "sysctl -qw net.ipv6.conf.default.accept_ra=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip link del br0")
	h.must(c)
	if out, err := ns.Output("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); err != nil || strings.Contains(out, "tentative") {
		t.Errorf("%s, %v", out, err)
	}
	if got, err := ask(ns, "10.88.0.1:1"); !strings.Contains(fmt.Sprint(err), "refused") {
		t.Errorf("the gateway: %q, %v", got, err)
	}
}

// TestContainerOfAUserNamespace is what a rootless runtime hands over.
func TestContainerOfAUserNamespace(t *testing.T) {
	h := newHost(t)
	cmd := exec.Command("unshare", "-Urn", "sh", "-c", "echo ready; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c := bridgeCall("ADD", "a", nil, "1.1.0", "")
	c.netns = fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	last := h.added(c)
	check := bridgeCall("CHECK", "a", nil, "1.1.0", `,"prevResult":`+string(last))
	check.netns = c.netns
	h.must(check)
	c.verb = "DEL"
	h.must(c)
	h.wantClean()
}

// TestHostWithoutIPv6 serves IPv4, and says what is wrong where IPv6 is asked for.
func TestHostWithoutIPv6(t *testing.T) {
	h := newHost(t)
	ns, other := h.container(), h.container()
	on(t, h.ns, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	for _, container := range []*netns.Namespace{ns, other} {
		on(t, container, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	}
	v4 := `,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]},"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`
	last := h.added(bridgeCall("ADD", "a", ns, "1.1.0", v4))
	serve(t, ns, "10.88.0.2:80", "a")
	for _, address := range []string{"10.88.0.2:80", "127.0.0.1:8080"} {
		if got, err := ask(h.ns, address); err != nil || got != "a" {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	h.must(bridgeCall("CHECK", "a", ns, "1.1.0", v4+`,"prevResult":`+string(last)))
	if f := h.refuse(bridgeCall("ADD", "b", other, "1.1.0", "")); !strings.Contains(f.Msg, "IPv6 is switched off there (sysctl net.ipv6.conf.br0.disable_ipv6)") {
		t.Errorf("dual stack: %+v", f)
	}
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", v4))
	h.wantClean()
}

// TestAFullBridge: STATUS tells before ADD fails, and ADD tells why.
func TestAFullBridge(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	batch := "link add br0 type bridge\n"
	for i := range 1022 {
		batch += fmt.Sprintf("link add p%d master br0 type ifb\n", i)
	}
	file := t.TempDir() + "/batch"
	if err := os.WriteFile(file, []byte(batch), 0o600); err != nil {
		t.Fatal(err)
	}
	on(t, h.ns, "ip -batch "+file)
	status := call{verb: "STATUS", plugin: "bridge", conf: bridgeConf("1.1.0", "")}
	if a := h.run(status); a.status != 0 || !strings.Contains(a.stderr, "bridge br0: 1022 of 1023 ports are in use: remove some") {
		t.Errorf("STATUS with a port to spare: status %d, %s", a.status, a.stderr)
	}
	h.must(bridgeCall("ADD", "last", h.container(), "1.1.0", ""))
	if f := h.refuse(status); f.Code != 50 || f.Msg != "bridge br0: 1023 of 1023 ports are in use" || !strings.Contains(f.Details, "with a port to spare") {
		t.Errorf("STATUS: %+v", f)
	}
	before := h.residue()
	if f := h.refuse(bridgeCall("ADD", "a", ns, "1.1.0", "")); f.Msg != "attach to bridge br0: 1023 of 1023 ports are in use" {
		t.Errorf("ADD: %+v", f)
	}
	if after := h.residue(); after != before {
		t.Errorf("left\n%s\nwas\n%s", after, before)
	}
	h.must(bridgeCall("DEL", "last", nil, "1.1.0", ""))
	h.must(status)
}

// TestRouterAdvertisementsAreIgnored on the host's side (CVE-2020-10749).
func TestRouterAdvertisementsAreIgnored(t *testing.T) {
	h := newHost(t)
	last := h.added(bridgeCall("ADD", "a", h.container(), "1.1.0", `,"runtimeConfig":{"bandwidth":{`+bothLimits+`}}`))
	var r result
	if err := json.Unmarshal(last, &r); err != nil {
		t.Fatal(err)
	}
	for _, i := range r.Interfaces {
		if i.Sandbox == "" {
			shows(t, h.ns, "sysctl net.ipv6.conf."+i.Name+".accept_ra", "accept_ra = 0")
		}
	}
}

// TestMACSpoofCheck: a container is heard under its own hardware address only.
func TestMACSpoofCheck(t *testing.T) {
	h := newHost(t)
	ns, peer := h.container(), h.container()
	keys := `,"macspoofchk":true`
	last := h.added(bridgeCall("ADD", "a", ns, "1.1.0", keys))
	h.must(bridgeCall("ADD", "b", peer, "1.1.0", keys))
	serve(t, peer, "10.88.0.3:80", "b")
	serve(t, ns, "10.88.0.2:80", "a")
	for from, address := range map[*netns.Namespace]string{ns: "10.88.0.3:80", peer: "10.88.0.2:80", h.ns: "10.88.0.2:80"} {
		if _, err := ask(from, address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	check := bridgeCall("CHECK", "a", ns, "1.1.0", keys+`,"prevResult":`+string(last))
	h.must(check)
	var r result
	if err := json.Unmarshal(last, &r); err != nil {
		t.Fatal(err)
	}
	foreign := strings.Replace(r.Interfaces[2].Mac, r.Interfaces[2].Mac[:2], "06", 1)
	on(t, ns, "ip link set eth0 address "+foreign)
	on(t, peer, "ip neigh flush dev eth0")
	if got, err := askBriefly(ns, "10.88.0.3:80"); err == nil {
		t.Errorf("answered under a foreign address: %q", got)
	}
	on(t, ns, "ip link set eth0 address "+r.Interfaces[2].Mac)
	if _, err := ask(ns, "10.88.0.3:80"); err != nil {
		t.Errorf("under its own address again: %v", err)
	}
	// A container that is not checked can't draw the address to itself.
	thief := h.container()
	h.must(bridgeCall("ADD", "c", thief, "1.1.0", ""))
	on(t, thief, "ip link set eth0 address "+r.Interfaces[2].Mac)
	_, _ = askBriefly(thief, "10.88.0.1:1")
	if got, err := ask(h.ns, "10.88.0.2:80"); err != nil || got != "a" {
		t.Errorf("after another container has taken the address: %q, %v", got, err)
	}
	on(t, h.ns, "bridge link set dev "+r.Interfaces[1].Name+" locked off")
	if f := h.refuse(check); f.Code != 109 || !strings.Contains(f.Msg, "it lets any source address in") {
		t.Errorf("%+v", f)
	}
}

// TestGCCutsALivingContainerOff whose attachment the caller does not list any
// more: its address is given back, so it must not be heard with it. The
// namespace itself is not touched.
func TestGCCutsALivingContainerOff(t *testing.T) {
	h := newHost(t)
	a, b := h.container(), h.container()
	address := strings.TrimSuffix(h.must(bridgeCall("ADD", "a", a, "1.1.0", "")).IPs[0].Address, "/16")
	serve(t, a, address+":80", "a")
	gc := bridgeCall("GC", "", nil, "1.1.0", `,"cni.dev/valid-attachments":[]`)
	h.must(gc)
	shows(t, a, "ip -o -4 addr show eth0", address)
	if out, err := h.ns.Output("sh", "-c", "ip -o link show master br0; ip -o link | grep veth | grep -w UP || true"); err != nil || out != "" {
		t.Errorf("still connected: %s, %v", out, err)
	}
	h.must(bridgeCall("ADD", "b", b, "1.1.0", `,"runtimeConfig":{"ips":["`+address+`"]}`))
	serve(t, b, address+":80", "b")
	if got, err := ask(h.ns, address+":80"); err != nil || got != "b" {
		t.Errorf("%s answers %q, %v", address, got, err)
	}
	h.must(gc)
	h.must(bridgeCall("DEL", "a", a, "1.1.0", ""))
	h.must(bridgeCall("DEL", "b", b, "1.1.0", ""))
	h.wantClean()
}
