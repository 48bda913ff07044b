package plugins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContainerdsPod calls as containerd does for a pod of two networks: both and
// the loopback at once, keys in Go's case, every capability it knows, CNI_ARGS in
// any order; and DEL without a namespace. It looks for the pod's address among
// host-local's files.
func TestContainerdsPod(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	const runtime = `"runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}],
		"bandwidth":{"IngressRate":8000000,"IngressBurst":4294967295,"EgressRate":8000000,"EgressBurst":4294967295},
		"dns":{"Servers":["192.0.2.53"],"Searches":["example.com"],"Options":["ndots:2"]},
		"cgroupPath":"/kubepods/pod7","io.kubernetes.cri.pod-annotations":{"a":"b"}}`
	network := func(n int, keys string) string {
		return fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net%d","type":"bridge","bridge":"br%d","isGateway":true,"ipMasq":true,"promiscMode":true,
			"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.%d.0/24"}],[{"subnet":"fd00:88:%d::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}%s}`,
			n, n, h.state+"/networks", n, n, keys)
	}
	calls := []call{
		{plugin: "loopback", ifname: "lo", conf: `{"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"}`},
		{plugin: "bridge", ifname: "eth0", conf: network(0, ","+runtime)},
		{plugin: "bridge", ifname: "eth1", conf: network(1, "")},
	}
	args := []string{"K8S_POD_NAMESPACE=default", "K8S_POD_NAME=web", "K8S_POD_INFRA_CONTAINER_ID=p1", "K8S_POD_UID=7", "IgnoreUnknown=1"}
	answers := make([]answer, len(calls))
	for i := range calls {
		calls[i].verb, calls[i].container, calls[i].netns = "ADD", "p1", ns.Path()
		calls[i].args = strings.Join(append(args[i:len(args):len(args)], args[:i]...), ";")
	}
	each(len(calls), func(i int) { answers[i] = h.run(calls[i]) })
	for i, want := range []string{"127.0.0.1/8", "10.88.0.2/24", "10.88.1.2/24"} {
		var made struct {
			IPs []struct {
				Version, Address string
				Interface        int
			}
			Interfaces []struct{ Name, Sandbox string }
			DNS        struct{ Nameservers, Search, Options []string }
		}
		if err := json.Unmarshal(answers[i].out, &made); err != nil || answers[i].status != 0 || len(made.IPs) == 0 {
			t.Fatalf("%s: %v %s%s", calls[i].ifname, err, answers[i].out, answers[i].stderr)
		}
		ip, link := made.IPs[0], made.Interfaces[made.IPs[0].Interface]
		if ip.Address != want || link.Name != calls[i].ifname || link.Sandbox != ns.Path() || (ip.Version == "4") != (i == 0) {
			t.Errorf("%s: %s", calls[i].ifname, answers[i].out)
		}
		if i == 1 && (fmt.Sprint(made.DNS) != "{[192.0.2.53] [example.com] [ndots:2]}") {
			t.Errorf("dns: %s", answers[i].out)
		}
	}
	leaked := func() []string {
		files, _ := filepath.Glob(h.state + "/networks/*/[1f]*")
		return files
	}
	if len(leaked()) != 4 {
		t.Errorf("files named by the addresses: %v", leaked())
	}
	each(len(calls), func(i int) {
		c := calls[i]
		c.verb, c.netns = "DEL", ""
		h.must(c)
	})
	h.wantClean()
	if len(leaked()) > 0 {
		t.Errorf("left: %v", leaked())
	}
}

// TestCRIOsPod: VERSION has the configuration's own version for each plugin of
// the list; CHECK comes right after ADD; aliases are a map; IP= and MAC= stand in
// CNI_ARGS; and GC's list is null when there is no pod.
func TestCRIOsPod(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	for _, plugin := range []string{"bridge", "macvlan", "portmap", "firewall", "bandwidth", "tuning", "host-local", "static", "loopback", "none", "host"} {
		a := h.run(call{verb: "VERSION", plugin: plugin, conf: `{"cniVersion":"1.0.0"}`})
		if a.status != 0 || !strings.Contains(string(a.out), `"cniVersion": "1.0.0"`) || !strings.Contains(string(a.out), `"1.0.0",`) {
			t.Errorf("VERSION of %s: %s%s", plugin, a.out, a.stderr)
		}
	}
	c := bridgeCall("ADD", "p1", ns, "1.1.0", `,"runtimeConfig":{"aliases":{"testnet":["web"]},"cgroupPath":"/x","bandwidth":{"ingressRate":8000000,"ingressBurst":34359738359}}`)
	c.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=p1;K8S_POD_UID=7;IP=10.88.0.77;MAC=02:00:00:00:00:77"
	made := h.added(c)
	for _, want := range []string{"10.88.0.77/16", "02:00:00:00:00:77"} {
		if !strings.Contains(string(made), want) {
			t.Errorf("no %s in %s", want, made)
		}
	}
	check := bridgeCall("CHECK", "p1", ns, "1.1.0", `,"prevResult":`+string(made))
	check.args = c.args
	for range 2 {
		h.must(check)
	}
	h.must(bridgeCall("STATUS", "", nil, "1.1.0", ""))
	on(t, ns, "ip link del eth0")
	h.must(bridgeCall("GC", "", nil, "1.1.0", `,"cni.dev/valid-attachments":null,"cni.dev/attachments":null`))
	h.wantClean()
}

// TestNerdctlsContainer: DEL without a namespace comes before each ADD; the IPv4
// address and the MAC are in CNI_ARGS, the IPv6 address is the capability ips.
func TestNerdctlsContainer(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	if a := h.run(call{plugin: "firewall"}); a.status != 0 || len(a.out) != 0 || !regexp.MustCompile(`^CNI firewall plugin v1\.(7\.[1-9]|[89]\.|[1-9][0-9])`).MatchString(a.stderr) {
		t.Errorf("banner: %d %q %q", a.status, a.out, a.stderr)
	}
	list := nerdctlList("iptables")
	list[0] = strings.Replace(strings.Replace(list[0], `"ranges":[[{"subnet":"10.88.0.0/16"}]]`, bothFamilies, 1), `{`, `{"capabilities":{"ips":true},"runtimeConfig":{"ips":["fd00:88::77"]},`, 1)
	list = append(list, fmt.Sprintf(`{"type":"tuning","dataDir":%q}`, h.state+"/tuning"))
	for range 2 {
		h.chain("DEL", "c1", nil, list, nil)
		h.wantClean()
		var previous json.RawMessage
		for _, plugin := range list {
			c := h.link("ADD", "c1", ns, plugin, previous)
			c.args = "IgnoreUnknown=1;IP=10.88.0.77;MAC=02:00:00:00:00:77;NERDCTL_CNI_DHCP_HOSTNAME=web"
			previous = h.added(c)
		}
		for _, want := range []string{"10.88.0.77/16", "fd00:88::77/64", "02:00:00:00:00:77"} {
			if !strings.Contains(string(previous), want) {
				t.Errorf("no %s in %s", want, previous)
			}
		}
		h.chain("DEL", "c1", nil, list, nil)
	}
	h.wantClean()
}

// TestCallersPageNamesTests: each row of docs/callers.md names tests that exist.
func TestCallersPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("../docs/callers.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "internal/*/*_test.go", "../ipam/*/*_test.go", "../test/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "-") || strings.Contains(cells[2], "where it is tested") {
			continue
		}
		rows++
		named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`|(C[0-9]{3})").FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range named {
			if name[1] != "" && !strings.Contains(code.String(), "func "+name[1]+"(t ") {
				t.Errorf("no such test %s: %s", name[1], line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}

// TestDeadContainersDoNotUseUpTheAddresses: nobody calls DEL or GC for containers
// whose namespaces have gone, and the pool is full. What lives keeps its address.
func TestDeadContainersDoNotUseUpTheAddresses(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	attach := func(name string) result {
		c := bridgeIPAM("ADD", name, h.container(), `{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/29"}]]}`, "")
		if err := os.Symlink(c.netns, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		c.netns = filepath.Join(dir, name)
		return h.must(c)
	}
	living := attach("lives").IPs[0].Address
	for i := range 4 { // 10.88.0.2 to .6 are five
		attach(fmt.Sprintf("dies%d", i))
	}
	for i := range 4 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("dies%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	given := map[string]bool{living: true}
	for i := range 4 {
		address := attach(fmt.Sprintf("new%d", i)).IPs[0].Address
		if given[address] {
			t.Errorf("%s given twice", address)
		}
		given[address] = true
	}
	if f := h.refuse(bridgeIPAM("ADD", "late", h.container(), `{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/29"}]]}`, "")); f.Code != 101 {
		t.Errorf("all live: %+v", f)
	}
}
