package mutant

import (
	"os"
	"strings"
	"time"
)

// otherMutations break CHECK, STATUS, GC and delegation.
var otherMutations = []Mutation{
	{Name: "check-sees-nothing", Plugin: "bridge", Row: "C102", Also: []string{"C015", "C049", "C098", "C100", "C101", "C103", "C105", "C111"}, Why: "they want other things of CHECK, which does nothing any more", Break: func(c *Call) {
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
			time.Sleep(300 * time.Millisecond)
		}
		c.Run()
	}},
	{Name: "status-alone", Plugin: "bridge", Row: "C117", Also: []string{"C050"}, Why: "it wants STATUS below 1.1.0 refused", Break: func(c *Call) {
		if c.Verb() == "STATUS" {
			return
		}
		c.Run()
	}},
	{Name: "gc-collects-the-living", Plugin: "bridge", Row: "C125", Also: []string{"C133"}, Why: "it wants what is added beside a GC kept", Break: func(c *Call) {
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
	{Name: "gc-of-everything", Plugin: "host-local", Row: "C126", Also: []string{"C125", "C133"}, Why: "they want the living kept, listed or added beside the GC", Break: func(c *Call) {
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
	{Name: "gives-away-wanted-address", Plugin: "host-local", Row: "C170", Also: []string{"C171"}, Why: "it wants addresses refused that were asked for the same way", Break: func(c *Call) {
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

// insideHas reports whether the container's addresses include a text.
func (c *Call) insideHas(text string) bool {
	out := c.output("nsenter", "--net="+c.Env["CNI_NETNS"], "--", "ip", "addr")
	return strings.Contains(out, text)
}
