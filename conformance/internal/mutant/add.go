package mutant

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// addMutations break ADD of the interface plugin.
var addMutations = []Mutation{
	{Name: "ignores-ifname", Plugin: "bridge", Row: "C053", Also: []string{"C072", "C073", "C089"}, Why: "their second interface is net1", Break: func(c *Call) {
		if c.Env["CNI_IFNAME"] == "net1" {
			c.Env["CNI_IFNAME"] = "eth0"
		}
		c.Run()
	}},
	{Name: "removes-what-it-finds", Plugin: "bridge", Row: "C054", Break: func(c *Call) {
		if c.Run(); c.Verb() == "ADD" && c.Exit != 0 && strings.Contains(string(c.Stdout), "already exists") {
			c.Inside("ip", "link", "del", c.Env["CNI_IFNAME"])
		}
	}},
	{Name: "hides-host-link", Plugin: "bridge", Row: "C060", Also: checked, Why: whyChecked, Break: editResult(func(doc map[string]any) {
		if l, _ := doc["interfaces"].([]any); len(l) == 3 {
			l[1] = l[0] // the bridge twice, the cable's host end not at all
		}
	})},
	{Name: "stale-mac", Plugin: "bridge", Row: "C061", Also: append([]string{"C172"}, checked...), Why: whyChecked, Break: editResult(func(doc map[string]any) {
		for _, l := range entries(doc, "interfaces") {
			if l["sandbox"] != nil {
				l["mac"] = "02:00:00:00:00:99"
			}
		}
	})},
	{Name: "wrong-interface-index", Plugin: "bridge", Row: "C064", Break: editResult(func(doc map[string]any) {
		for _, ip := range entries(doc, "ips") {
			ip["interface"] = 3
		}
	})},
	{Name: "drops-gateway", Plugin: "bridge", Row: "C065", Break: editResult(func(doc map[string]any) {
		for _, ip := range entries(doc, "ips") {
			delete(ip, "gateway")
		}
	})},
	{Name: "drops-ipv6", Plugin: "bridge", Row: "C065", Also: []string{"C076", "C160"}, Why: "their delegate gives out the same IPv6 address", Break: editResult(func(doc map[string]any) {
		if ips := entries(doc, "ips"); len(ips) > 1 {
			doc["ips"] = slices.DeleteFunc(ips, func(ip map[string]any) bool {
				address, _ := ip["address"].(string)
				return strings.HasPrefix(address, "fd00:bee:")
			})
		}
	})},
	{Name: "forgets-routes", Plugin: "bridge", Row: "C069", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") && strings.Contains(string(c.Stdout), "2001:db8:1::/64") && !strings.Contains(string(c.Stdout), `"gw"`) {
			c.Inside("ip", "-6", "route", "del", "2001:db8:1::/64")
		}
	}},
	{Name: "wrong-metric", Plugin: "bridge", Row: "C066", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") {
			c.Inside("sh", "-c", "ip route del 198.51.100.0/24 metric 77 && ip route add 198.51.100.0/24 via 10.214.0.2 metric 78")
		}
	}},
	{Name: "version-in-ips", Plugin: "bridge", Row: "C144", Also: []string{"C051"}, Why: "it looks at the shape of every version", Break: editResult(func(doc map[string]any) {
		if doc["cniVersion"] == "1.0.0" {
			for _, ip := range entries(doc, "ips") {
				ip["version"] = "4"
			}
		}
	})},
	{Name: "mtu-too-early", Plugin: "bridge", Row: "C145", Also: []string{"C051", "C143"}, Why: "they look at the shape of 0.4.0", Break: editResult(func(doc map[string]any) {
		for _, l := range entries(doc, "interfaces") {
			if doc["cniVersion"] == "0.4.0" {
				l["mtu"] = 1500
			}
		}
	})},
	{Name: "answers-other-version", Plugin: "bridge", Row: "C051", Also: []string{"C143"}, Why: "it looks at the shape of 0.3.1", Break: editResult(func(doc map[string]any) {
		if doc["cniVersion"] == "0.3.1" {
			doc["cniVersion"] = "0.3.0"
		}
	})},
	{Name: "accepts-advertisements", Plugin: "bridge", Row: "C193", Break: func(c *Call) {
		if c.Run(); c.Succeeded("ADD") {
			c.Edit(func(doc map[string]any) {
				for _, l := range entries(doc, "interfaces") {
					if name, _ := l["name"].(string); strings.HasPrefix(name, "veth") {
						os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_ra", []byte("2"), 0o644)
					}
				}
			})
		}
	}},
	{Name: "ignores-mac", Plugin: "bridge", Row: "C172", Also: []string{"C181"}, Why: "it wants the MAC of runtimeConfig to be stronger than the one of CNI_ARGS", Break: func(c *Call) {
		req := c.Request()
		if runtime, ok := req["runtimeConfig"].(map[string]any); ok && runtime["mac"] != nil {
			delete(runtime, "mac")
			c.Send(req)
		}
		c.Run()
	}},
	{Name: "ignores-dns", Plugin: "bridge", Row: "C071", Break: editResult(func(doc map[string]any) {
		if dns, _ := json.Marshal(doc["dns"]); strings.Contains(string(dns), "192.0.2.53") {
			delete(doc, "dns")
		}
	})},
}

// editResult is a mutation of the document a successful ADD prints.
func editResult(change func(doc map[string]any)) func(*Call) {
	return func(c *Call) {
		if c.Run(); c.Succeeded("ADD") {
			c.Edit(change)
		}
	}
}

// entries are the objects of a list in a document.
func entries(doc map[string]any, key string) []map[string]any {
	list, _ := doc[key].([]any)
	var out []map[string]any
	for _, v := range list {
		if entry, ok := v.(map[string]any); ok {
			out = append(out, entry)
		}
	}
	return out
}

// checked are the rows that want CHECK to pass after an ADD.
var checked = []string{"C039", "C090", "C125", "C126", "C133"}

const whyChecked = "the wrong result comes back to CHECK as its prevResult, and CHECK rightly fails"
