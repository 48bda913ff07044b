package plugins_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// chain runs a verb of each plugin of a list, as a runtime does, and returns
// the last result.
func (h *host) chain(verb, container string, ns *netns.Namespace, plugins []string, previous json.RawMessage) json.RawMessage {
	h.t.Helper()
	if verb == "DEL" {
		plugins = slices.Clone(plugins)
		slices.Reverse(plugins)
	}
	for _, plugin := range plugins {
		c := h.link(verb, container, ns, plugin, previous)
		a := h.run(c)
		if a.status != 0 {
			h.t.Fatalf("%s %s: %s%s", verb, c.plugin, a.out, a.stderr)
		}
		if verb == "ADD" {
			previous = a.out
		}
	}
	return previous
}

// link is one call of a chain.
func (h *host) link(verb, container string, ns *netns.Namespace, plugin string, previous json.RawMessage) call {
	h.t.Helper()
	keys := map[string]any{}
	if err := json.Unmarshal([]byte(plugin), &keys); err != nil {
		h.t.Fatal(err)
	}
	keys["cniVersion"] = "1.0.0"
	if keys["name"] == nil {
		keys["name"] = "testnet"
	}
	if previous != nil {
		keys["prevResult"] = previous
	}
	conf, err := json.Marshal(keys)
	if err != nil {
		h.t.Fatal(err)
	}
	c := call{verb: verb, plugin: keys["type"].(string), container: container, conf: string(conf)}
	if ns != nil {
		c.netns = ns.Path()
	}
	return c
}

// nerdctlList is nerdctl's default list, with a port.
func nerdctlList(backend string) []string {
	return []string{
		`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"hairpinMode":true,
		  "ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`,
		fmt.Sprintf(`{"type":"portmap","backend":%q,"capabilities":{"portMappings":true},"runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp"}]}}`, backend),
		`{"type":"firewall","ingressPolicy":"same-bridge"}`,
	}
}

func TestChainedPluginsShareTheMechanism(t *testing.T) {
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + backend}
			list := nerdctlList(backend)
			a, b := h.container(), h.container()
			result := h.chain("ADD", "a", a, list, nil)
			serve(t, a, "10.88.0.2:80", "a")
			for _, address := range []string{"127.0.0.1:8080", "10.88.0.1:8080"} {
				if got, err := ask(h.ns, address); err != nil || got != "a" {
					t.Errorf("%s: %q, %v", address, got, err)
				}
			}
			h.chain("CHECK", "a", a, list, result)
			list[1] = strings.Replace(list[1], "8080", "8081", 1)
			h.chain("ADD", "b", b, list, nil)
			h.chain("DEL", "b", b, list, nil)
			if got, err := ask(h.ns, "127.0.0.1:8080"); err != nil || got != "a" {
				t.Errorf("after the neighbour has gone: %q, %v", got, err)
			}
			// Neither namespace nor result nor ports, as nerdctl does it.
			list[1] = `{"type":"portmap"}`
			h.chain("DEL", "a", nil, list, nil)
			h.chain("DEL", "a", nil, list, nil)
			h.wantClean()
		})
	}
}

// TestTwoNetworksOnABridge have each their own policy, in whatever order they
// come and go: one publishes and reaches the outside, the other is internal.
func TestTwoNetworksOnABridge(t *testing.T) {
	const bridge = `"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true`
	open := []string{`{"name":"open",` + bridge + `,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/24"}],[{"subnet":"fd00:88::/64"}]]},
		"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}}`}
	inner := []string{`{"name":"inner",` + bridge + `,"internal":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.89.0.0/24"}],[{"subnet":"fd00:89::/64"}]]}}`}
	for _, backend := range []string{"iptables", "nftables"} {
		for name, first := range map[string][]string{"open": open, "internal": inner} {
			t.Run(backend+"/"+name+" first", func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				h.env = []string{"NETCTL_FIREWALL=" + backend}
				out, a, b := h.outside(), h.container(), h.container()
				on(t, h.ns, `ip link add br0 type bridge forward_delay 0
					sysctl -qw net.ipv6.conf.br0.accept_dad=0; ip link set br0 up
					for a in 10.88.0.1/24 10.89.0.1/24; do ip addr add $a dev br0; done`)
				second := inner
				if name == "internal" {
					second, a, b = open, b, a
				}
				h.chain("ADD", "first", a, first, nil)
				h.chain("ADD", "second", b, second, nil)
				if name == "internal" {
					a, b = b, a
				}
				for _, at := range []struct{ web, published, member, far string }{
					{"10.88.0.2:80", "192.0.2.1:8080", "10.89.0.2:80", "192.0.2.9:7"},
					{"[fd00:88::2]:80", "[2001:db8::1]:8080", "[fd00:89::2]:80", "[2001:db8::9]:7"},
				} {
					serve(t, a, at.web, "a")
					serve(t, b, at.member, "b")
					serve(t, out, at.far, "out")
					for from, asks := range map[*netns.Namespace][3]string{
						out: {at.published, "a"}, a: {at.far, "out"}, h.ns: {at.member, "b"}, b: {at.far, ""},
					} {
						answer := func() (string, error) { return askPatiently(from, "tcp", netip.MustParseAddrPort(asks[0])) }
						if asks[1] == "" {
							answer = func() (string, error) { return ask(from, asks[0]) }
						}
						if got, _ := answer(); got != asks[1] {
							t.Errorf("%s: answered by %q, want %q", asks[0], got, asks[1])
						}
					}
				}
				h.chain("DEL", "first", nil, first, nil)
				if got, _ := ask(out, "192.0.2.1:8080"); (got == "a") != (name == "internal") {
					t.Errorf("with the second alone, the published port: %q", got)
				}
				if got, _ := ask(b, "192.0.2.9:7"); got != "" {
					t.Errorf("with the second alone, the internal one reaches %q", got)
				}
				h.chain("DEL", "second", nil, second, nil)
				h.wantClean()
			})
		}
	}
}

// TestAChainedPluginWithNothingToDo passes the result on, and a DEL looks for
// nothing: no program of iptables is started (C168).
func TestAChainedPluginWithNothingToDo(t *testing.T) {
	h := newHost(t)
	programs := t.TempDir()
	started := filepath.Join(programs, "started")
	for _, name := range []string{"iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore"} {
		script := "#!/bin/sh\necho " + name + " >>" + started + "\n"
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.env = []string{"PATH=" + programs + ":" + os.Getenv("PATH"), "NETCTL_FIREWALL=iptables"}
	const previous = `{"cniVersion":"1.0.0","interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.88.0.2/16","interface":1}]}`
	a := h.run(call{verb: "ADD", plugin: "portmap", container: "a", netns: "/x", conf: `{"cniVersion":"1.0.0","name":"testnet","type":"portmap","prevResult":` + previous + `}`})
	var got, want any
	if a.status != 0 || json.Unmarshal(a.out, &got) != nil || json.Unmarshal([]byte(previous), &want) != nil {
		t.Fatalf("%s%s", a.out, a.stderr)
	}
	delete(got.(map[string]any), "dns") // the library writes an empty object
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if f := h.refuse(call{verb: "ADD", plugin: "portmap", container: "a", netns: "/x", conf: `{"cniVersion":"1.0.0","name":"testnet","type":"portmap"}`}); f.Code != 7 || !strings.Contains(f.Msg, "prevResult") {
		t.Errorf("without a previous result: %+v", f)
	}
	for range 2 {
		if a := h.run(call{verb: "DEL", plugin: "portmap", container: "a", netns: "/x", conf: `{"cniVersion":"1.0.0","name":"testnet","type":"portmap","prevResult":` + previous + `}`}); a.status != 0 {
			t.Errorf("DEL: %s%s", a.out, a.stderr)
		}
	}
	if names, err := os.ReadFile(started); err == nil {
		t.Errorf("programs started: %s", names)
	}
	h.wantClean()
}

// TestIsolatedKeepsMembersApart: ingressPolicy same-bridge lets the members of a
// network reach each other, isolated does not, and both leave them the way out.
func TestIsolatedKeepsMembersApart(t *testing.T) {
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	shown := err == nil // else no rule sees what a bridge carries
	for _, backend := range []string{"iptables", "nftables"} {
		for policy, apart := range map[string]bool{"same-bridge": false, "isolated": shown} {
			t.Run(backend+", "+policy, func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				h.env = []string{"NETCTL_FIREWALL=" + backend}
				list := nerdctlList(backend)
				list = []string{list[0], strings.Replace(list[2], "same-bridge", policy, 1)}
				outside, a, b := h.outside(), h.container(), h.container()
				made := h.chain("ADD", "a", a, list, nil)
				h.chain("ADD", "b", b, list, nil)
				serve(t, a, addressOf(t, made)+":80", "a")
				serve(t, outside, "192.0.2.9:80", "outside")
				if got, err := askPatiently(b, "tcp", netip.MustParseAddrPort("192.0.2.9:80")); got != "outside" {
					t.Errorf("outside: %q, %v", got, err)
				}
				if apart {
					reachesNot(t, b, addressOf(t, made)+":80")
				} else if got, err := askPatiently(b, "tcp", netip.MustParseAddrPort(addressOf(t, made)+":80")); got != "a" {
					t.Errorf("from its neighbour: %q, %v", got, err)
				}
				h.chain("CHECK", "a", a, list, made)
				h.chain("DEL", "a", a, list, made)
				h.chain("DEL", "b", nil, list, nil)
				h.wantClean()
			})
		}
	}
}
