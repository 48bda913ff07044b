package plugins_test

import (
	"encoding/json"
	"fmt"
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
	keys["cniVersion"], keys["name"] = "1.0.0", "testnet"
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
