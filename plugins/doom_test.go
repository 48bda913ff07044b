package plugins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/test/netns"
)

const everyKey = `"names":true,"runtimeConfig":{"aliases":["web"],"bandwidth":{` + bothLimits + `},
	"portMappings":[{"hostPort":8080,"containerPort":80},{"hostPort":8081,"containerPort":81,"protocol":"udp"}]}`

// oneBridge is a list of one entry.
func oneBridge(keys string) func(*host) []string {
	return func(*host) []string {
		return []string{`{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"netctl-ipam",` + bothFamilies + `},` + keys + `}`}
	}
}

// neighbour attaches another container, so that the network stays in use.
func neighbour(h *host) {
	h.chain("ADD", "peer", h.container(), oneBridge(`"names":true`)(h), nil)
}

func hostLocal(h *host, ranges string) string {
	return fmt.Sprintf(`{"type":"host-local","dataDir":%q,%s}`, h.state+"/networks", ranges)
}

// wholeChain is a chain of every plugin that can follow a bridge.
func wholeChain(h *host) []string {
	return []string{
		`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":` + hostLocal(h, bothFamilies) + `}`,
		`{"type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80},{"hostPort":8053,"containerPort":53,"protocol":"udp"}]}}`,
		`{"type":"firewall","ingressPolicy":"same-bridge"}`,
		fmt.Sprintf(`{"type":"tuning","dataDir":%q,"mtu":1400,"promisc":true,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}}`, h.state+"/tuning"),
		`{"type":"bandwidth",` + bothLimits + `}`,
	}
}

// made by the reference plugins.
func byReference(h *host, ns *netns.Namespace) json.RawMessage {
	h.dir = reference(h.t)
	defer func() { h.dir = "" }()
	return h.chain("ADD", "victim", ns, referenceList(h, h.backend(), 8080), nil)
}

// backend is the packet filter of the test.
func (h *host) backend() string {
	_, name, _ := strings.Cut(h.env[0], "=")
	return name
}

func inherited(h *host) []string { return referenceList(h, h.backend(), 8080) }

// collected has GC remove the container, and the namespace go after that.
func collected(h *host, ns *netns.Namespace, list []string) {
	h.gc(list, `{"containerID":"peer","ifname":"eth0"}`)
	if out, err := ns.Output("ip", "-o", "link", "show", "eth0"); err == nil && out != "" {
		on(h.t, ns, "ip link del eth0") // as the end of its namespace does
	}
}

// gc runs GC of each plugin of a list.
func (h *host) gc(list []string, valid string) {
	h.t.Helper()
	for _, plugin := range list {
		c := h.link("GC", "", nil, strings.Replace(plugin, "{", `{"cni.dev/valid-attachments":[`+valid+`],`, 1), nil)
		c.conf = strings.Replace(c.conf, `"1.0.0"`, `"1.1.0"`, 1)
		h.must(c)
	}
}

// deleted removes the container with its namespace at hand: the reference gives
// the host's end a random name, so that nothing else leads to it.
func deleted(h *host, ns *netns.Namespace, list []string) { h.chain("DEL", "victim", ns, list, nil) }

// addedAgain is what kubelet does: the container gets another namespace.
func addedAgain(h *host, _ *netns.Namespace, list []string) {
	ns := h.container()
	h.chain("ADD", "victim", ns, list, nil)
	h.chain("DEL", "victim", ns, list, nil)
}

// foreignIPAM has our host-local under a name that is not one of ours: the
// reference, killed in the middle, leaves a file that names nobody.
func (h *host) foreignIPAM() {
	h.t.Helper()
	dir := h.t.TempDir()
	for _, name := range []string{"bridge", "dnsd"} {
		if err := os.Symlink(filepath.Join(binaries, name), filepath.Join(dir, name)); err != nil {
			h.t.Fatal(err)
		}
	}
	script := "#!/bin/sh\nexec " + filepath.Join(binaries, "host-local")
	if err := os.WriteFile(filepath.Join(dir, "foreign"), []byte(script), 0o700); err != nil {
		h.t.Fatal(err)
	}
	h.dir = dir
}

func dooms() map[string]doom {
	one := oneBridge(everyKey)
	return map[string]doom{
		"one entry, iptables":           {list: one, backend: "iptables", prepare: neighbour},
		"one entry, nftables":           {list: oneBridge(everyKey + `,"macspoofchk":true`), backend: "nftables", prepare: neighbour},
		"last of its network, iptables": {list: one, backend: "iptables", long: true},
		"last of its network, nftables": {list: one, backend: "nftables"},
		"its iptables":                  {list: one, backend: "iptables", child: true, prepare: neighbour},
		"then GC":                       {list: one, backend: "iptables", prepare: neighbour, end: collected, long: true},
		"then GC, nftables":             {list: one, backend: "nftables", prepare: neighbour, end: collected},
		"then ADD":                      {list: one, backend: "nftables", prepare: neighbour, end: addedAgain},
		"chain, iptables":               {list: wholeChain, backend: "iptables", long: true},
		"chain, nftables":               {list: wholeChain, backend: "nftables"},
		"inherited, iptables":           {list: inherited, backend: "iptables", add: byReference, verbs: []string{"DEL"}, end: deleted},
		"inherited, nftables":           {list: inherited, backend: "nftables", add: byReference, verbs: []string{"DEL"}, end: deleted, long: true},
		"guest": {list: oneBridge(`"ipMasq":true,"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"tap0"}]}`), backend: "nftables",
			prepare: func(h *host) { on(h.t, h.ns, "ip link add tap0 type veth peer name far0") }},
		"macvlan": {list: func(h *host) []string {
			return []string{`{"type":"macvlan","master":"parent0","ipam":` + hostLocal(h, `"ranges":[[{"subnet":"10.88.0.0/16"}]]`) + `}`}
		}, prepare: func(h *host) {
			on(h.t, h.ns, "ip link add parent0 type veth peer name parent1; ip link set parent0 up; ip link set parent1 up")
		}},
		"behind the uplink": {list: oneBridge(strings.Replace(everyKey, `"bandwidth":{`+bothLimits+`},`, "", 1)), backend: "nftables", long: true, prepare: func(h *host) {
			on(h.t, h.ns, "ip link add br0 type bridge")
			h.ports(1, 1000)
			neighbour(h)
		}},
		"host-local": {list: func(h *host) []string {
			return []string{`{"type":"host-local","ipam":` + hostLocal(h, bothFamilies) + `}`}
		}, prepare: func(h *host) {
			h.dir = reference(h.t)
			h.chain("ADD", "peer", h.container(), []string{`{"type":"host-local","ipam":` + hostLocal(h, bothFamilies) + `}`}, nil)
			h.dir = ""
		}},
		"foreign IPAM": {list: func(h *host) []string {
			h.foreignIPAM()
			return []string{`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":` + strings.Replace(hostLocal(h, bothFamilies), "host-local", "foreign", 1) + `}`}
		}, backend: "nftables"},
		"none": {list: func(*host) []string { return []string{`{"type":"none"}`, `{"type":"loopback"}`} }},
	}
}
