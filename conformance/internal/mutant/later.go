package mutant

import (
	"encoding/json"
	"os"
	"strings"
	"time"
)

// delMutations break DEL.
func delMutations() []Mutation {
	// Everything that looks whether an address is free after DEL.
	leaks := []string{"C055", "C080", "C082", "C083", "C084", "C085", "C086", "C088", "C090", "C122", "C123", "C127", "C132", "C187", "C190"}
	return []Mutation{
		{Name: "leaks-address", Plugin: "host-local", Row: "C079", Also: leaks, Break: func(c *Call) {
			if c.Verb() == "DEL" && strings.HasPrefix(string(c.Stdin), "{") && c.Env["CNI_CONTAINERID"] != "" && c.Env["CNI_IFNAME"] != "" {
				return
			}
			c.Run()
		}},
		{Name: "fails-second-del", Plugin: "bridge", Row: "C080", Also: []string{"C090", "C020"}, Break: func(c *Call) {
			if c.Run(); c.Succeeded("DEL") && c.remember("deleted-"+c.Env["CNI_CONTAINERID"]+"-"+c.Env["CNI_IFNAME"]) {
				c.Fail(100, "the interface is gone already")
			}
		}},
		{Name: "del-needs-add", Plugin: "bridge", Row: "C081", Break: func(c *Call) {
			id := "added-" + c.Env["CNI_CONTAINERID"] + "-" + c.Env["CNI_IFNAME"]
			if c.Run(); c.Verb() == "ADD" {
				c.remember(id)
			}
			if c.Succeeded("DEL") && !c.remember(id) {
				c.Fail(100, "never added")
			}
		}},
		{Name: "del-needs-netns", Plugin: "bridge", Row: "C082", Also: []string{"C080", "C081", "C091", "C016"}, Break: func(c *Call) {
			if netns, set := c.Env["CNI_NETNS"]; c.Verb() == "DEL" && set && netns == "" {
				return
			}
			c.Run()
		}},
		{Name: "del-needs-living-netns", Plugin: "bridge", Row: "C083", Break: func(c *Call) {
			netns := c.Env["CNI_NETNS"]
			if _, err := os.Stat(netns); c.Verb() == "DEL" && netns != "" && err != nil {
				c.Fail(3, "no such namespace")
				return
			}
			c.Run()
		}},
		{Name: "del-needs-prevresult", Plugin: "bridge", Row: "C085", Also: []string{"C080", "C081", "C016", "C091", "C001", "C020", "C002", "C043", "C187"}, Break: func(c *Call) {
			if c.Verb() == "DEL" && c.Request()["name"] != nil && c.Request()["prevResult"] == nil {
				c.Fail(7, "prevResult is missing")
				return
			}
			c.Run()
		}},
		{Name: "breaks-sibling", Plugin: "bridge", Row: "C089", Also: []string{"C090"}, Break: func(c *Call) {
			if c.Run(); c.Succeeded("DEL") && c.Env["CNI_IFNAME"] == "net1" {
				c.Inside("ip", "link", "del", "eth0")
			}
		}},
		{Name: "keeps-own-on-delegate-error", Plugin: "bridge", Row: "C092", Break: func(c *Call) {
			if c.Verb() != "DEL" {
				c.Run()
				return
			}
			request := c.Stdin
			real, env := c.real, c.Env
			delegate := &Call{Env: env, Stdin: request, real: "/run/cni-conformance/bin/conformance-ipam"}
			if strings.Contains(string(request), "conformance-ipam") {
				if delegate.Run(); delegate.Exit != 0 {
					c.Stdout, c.Exit = delegate.Stdout, delegate.Exit
					return
				}
			}
			c.real = real
			c.Run()
		}},
	}
}

// otherMutations break CHECK, STATUS, GC and delegation.
func otherMutations() []Mutation {
	return []Mutation{
		{Name: "check-sees-nothing", Plugin: "bridge", Row: "C102", Also: []string{"C015", "C049", "C098", "C100", "C101", "C103", "C104", "C105", "C106", "C111", "C159", "C039"}, Break: func(c *Call) {
			if c.Verb() == "CHECK" {
				return
			}
			c.Run()
		}},
		{Name: "check-insists-on-its-addresses", Plugin: "firewall", Row: "C109", Break: func(c *Call) {
			if c.Run(); c.Succeeded("CHECK") && c.insideHas("172.31.0.5") {
				c.Fail(100, "unexpected address on the interface")
			}
		}},
		{Name: "check-writes", Plugin: "bridge", Row: "C110", Break: func(c *Call) {
			if c.Run(); c.Verb() == "CHECK" {
				os.WriteFile("/run/last-check", []byte(time.Now().String()), 0o600)
			}
		}},
		{Name: "slow-status", Plugin: "bridge", Row: "C118", Break: func(c *Call) {
			if c.Verb() == "STATUS" {
				time.Sleep(60 * time.Millisecond)
			}
			c.Run()
		}},
		{Name: "status-alone", Plugin: "bridge", Row: "C117", Also: []string{"C050", "C114", "C115", "C159"}, Break: func(c *Call) {
			if c.Verb() == "STATUS" {
				return
			}
			c.Run()
		}},
		{Name: "gc-collects-the-living", Plugin: "bridge", Row: "C125", Also: []string{"C133", "C122"}, Break: func(c *Call) {
			c.Run()
			if !c.Succeeded("GC") {
				return
			}
			list, _ := c.Request()["cni.dev/valid-attachments"].([]any)
			for _, entry := range list {
				a, _ := entry.(map[string]any)
				del := &Call{Env: map[string]string{}, Stdin: c.Stdin, real: c.real}
				for k, v := range c.Env {
					del.Env[k] = v
				}
				del.Env["CNI_COMMAND"] = "DEL"
				del.Env["CNI_CONTAINERID"], _ = a["containerID"].(string)
				del.Env["CNI_IFNAME"], _ = a["ifname"].(string)
				del.Run()
			}
		}},
		{Name: "gc-of-everything", Plugin: "host-local", Row: "C126", Also: []string{"C122", "C123", "C125", "C127", "C128", "C132", "C133"}, Break: func(c *Call) {
			if c.Run(); c.Succeeded("GC") {
				os.RemoveAll("/var/lib/cni/networks")
			}
		}},
		{Name: "filters-environment", Plugin: "bridge", Row: "C157", Break: func(c *Call) {
			delete(c.Env, "CONFORMANCE_VARIABLE")
			c.Run()
		}},
		{Name: "trims-request", Plugin: "bridge", Row: "C157", Break: func(c *Call) {
			if req := c.Request(); req["conformanceUnknown"] != nil {
				delete(req, "conformanceUnknown")
				c.Send(req)
			}
			c.Run()
		}},
		{Name: "swallows-stderr", Plugin: "bridge", Row: "C158", Break: func(c *Call) {
			if c.Run(); c.Verb() == "ADD" {
				c.Stderr = nil
			}
		}},
		{Name: "gives-away-wanted-address", Plugin: "host-local", Row: "C170", Also: []string{"C139", "C171"}, Break: func(c *Call) {
			req := c.Request()
			if runtime, ok := req["runtimeConfig"].(map[string]any); ok && runtime["ips"] != nil {
				delete(runtime, "ips")
				c.Send(req)
			}
			c.Run()
		}},
		{Name: "interfaces-from-ipam", Plugin: "host-local", Row: "C147", Break: func(c *Call) {
			if c.Run(); c.Succeeded("ADD") {
				c.Edit(func(doc map[string]any) {
					if version, _ := doc["cniVersion"].(string); version >= "0.3.0" {
						doc["interfaces"] = []any{map[string]any{"name": "eth0"}}
					}
				})
			}
		}},
	}
}

// insideHas reports whether the container's addresses include a text.
func (c *Call) insideHas(text string) bool {
	out := c.output("nsenter", "--net="+c.Env["CNI_NETNS"], "--", "ip", "addr")
	return strings.Contains(out, text)
}

// chainedMutations break plugins that work on an interface made before.
func chainedMutations() []Mutation {
	mappings := func(c *Call, change func(m map[string]any)) {
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
	return []Mutation{
		{Name: "wants-lower-case-keys", Plugin: "portmap", Row: "C037", Break: func(c *Call) {
			if strings.Contains(string(c.Stdin), `"HostPort"`) {
				req := c.Request()
				delete(req, "runtimeConfig")
				c.Send(req)
			}
			c.Run()
		}},
		{Name: "ignores-host-address", Plugin: "portmap", Row: "C163", Also: []string{"C162", "C164"}, Break: func(c *Call) {
			mappings(c, func(m map[string]any) { delete(m, "hostIP") })
		}},
		{Name: "no-hairpin", Plugin: "portmap", Row: "C162", Break: func(c *Call) {
			if req := c.Request(); req != nil && req["runtimeConfig"] != nil {
				req["snat"] = false
				c.Send(req)
			}
			c.Run()
		}},
		{Name: "only-tcp", Plugin: "portmap", Row: "C162", Also: []string{"C037", "C089", "C096", "C166", "C189"}, Break: func(c *Call) {
			mappings(c, func(m map[string]any) {
				if protocol, _ := m["protocol"].(string); strings.EqualFold(protocol, "udp") {
					m["protocol"] = "tcp"
				}
			})
		}},
		{Name: "rules-without-mappings", Plugin: "portmap", Row: "C168", Also: []string{"C079", "C082", "C083", "C084", "C085", "C151"}, Break: func(c *Call) {
			req := c.Request()
			if runtime, _ := req["runtimeConfig"].(map[string]any); c.Verb() == "ADD" && runtime["portMappings"] == nil {
				os.WriteFile("/run/portmap-was-here", nil, 0o600)
			}
			c.Run()
		}},
		{Name: "captures-forwarded-packets", Plugin: "portmap", Row: "C194", Break: func(c *Call) {
			if c.Run(); c.Succeeded("ADD") {
				c.captureForwarded()
			}
		}},
		{Name: "drops-dns", Plugin: "firewall", Row: "C151", Also: []string{"C152"}, Break: func(c *Call) {
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
