package mutant

import (
	"encoding/json"
	"os"
	"strings"
)

// chainedMutations break plugins that work on an interface made before.
var chainedMutations = []Mutation{
	{Name: "wants-lower-case-keys", Plugin: "portmap", Row: "C037", Break: func(c *Call) {
		if strings.Contains(string(c.Stdin), `"HostPort"`) {
			req := c.Request()
			delete(req, "runtimeConfig")
			c.Send(req)
		}
		c.Run()
	}},
	{Name: "ignores-host-address", Plugin: "portmap", Row: "C163", Break: func(c *Call) {
		editMappings(c, func(m map[string]any) { delete(m, "hostIP") })
	}},
	{Name: "no-hairpin", Plugin: "portmap", Row: "C162", Break: func(c *Call) {
		if req := c.Request(); req != nil && req["runtimeConfig"] != nil {
			req["snat"] = false
			c.Send(req)
		}
		c.Run()
	}},
	{Name: "only-tcp", Plugin: "portmap", Row: "C162", Also: []string{"C189"}, Why: "it asks over UDP too", Break: func(c *Call) {
		editMappings(c, func(m map[string]any) {
			if protocol, _ := m["protocol"].(string); strings.EqualFold(protocol, "udp") {
				m["protocol"] = "tcp"
			}
		})
	}},
	{Name: "rules-without-mappings", Plugin: "portmap", Row: "C168", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") && !strings.Contains(string(c.Stdin), `"hostPort"`) && !strings.Contains(string(c.Stdin), `"HostPort"`) {
			os.WriteFile("/run/portmap-was-here", []byte("x"), 0o600)
		}
	}},
	{Name: "captures-forwarded-packets", Plugin: "portmap", Row: "C194", Also: []string{"C091"}, Why: "a failed ADD makes the rule anew that the mutant had removed", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") {
			c.captureForwarded()
		}
	}},
	{Name: "drops-dns", Plugin: "firewall", Row: "C151", Also: []string{"C152"}, Why: "it wants what the plugin does not change preserved, dns included", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") {
			c.Edit(func(doc map[string]any) { delete(doc, "dns") })
		}
	}},
	{Name: "invents-a-result", Plugin: "firewall", Row: "C153", Break: func(c *Call) {
		if req := c.Request(); c.Verb() == "ADD" && req["name"] != nil && req["prevResult"] == nil && req["args"] == nil && c.valid(req) {
			c.Stdout, _ = json.Marshal(map[string]any{"cniVersion": req["cniVersion"]})
			return
		}
		c.Run()
	}},
	{Name: "insists-on-index", Plugin: "tuning", Row: "C150", Break: func(c *Call) {
		if strings.Contains(string(c.Stdin), `"interface":-1`) {
			c.Fail(7, "interface index -1 is out of range")
			return
		}
		c.Run()
	}},
}

// editMappings changes each port mapping on its way to the plugin.
func editMappings(c *Call, change func(m map[string]any)) {
	req := c.Request()
	runtime, _ := req["runtimeConfig"].(map[string]any)
	list, _ := runtime["portMappings"].([]any)
	for _, m := range list {
		if entry, ok := m.(map[string]any); ok {
			change(entry)
		}
	}
	if len(list) > 0 {
		c.Send(req)
	}
	c.Run()
}

// valid reports whether a request would reach the plugin's own code.
func (c *Call) valid(req map[string]any) bool {
	name, _ := req["name"].(string)
	version, _ := req["cniVersion"].(string)
	return name != "" && !strings.Contains(name, "/") && version <= "1.1.0" && c.Env["CNI_IFNAME"] != "" && !strings.Contains(c.Env["CNI_IFNAME"], "/") &&
		c.Env["CNI_CONTAINERID"] != "" && !strings.HasPrefix(c.Env["CNI_CONTAINERID"], "-") && c.Env["CNI_NETNS"] != ""
}

// captureForwarded makes the newest mapping match packets for anybody.
func (c *Call) captureForwarded() {
	c.output("iptables", "-t", "nat", "-D", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "CNI-HOSTPORT-DNAT")
	c.output("sh", "-c", "iptables -t nat -C PREROUTING -j CNI-HOSTPORT-DNAT || iptables -t nat -A PREROUTING -j CNI-HOSTPORT-DNAT")
}
