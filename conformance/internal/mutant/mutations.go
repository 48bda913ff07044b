package mutant

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Mutation is one way to be wrong.
type Mutation struct {
	Name   string
	Plugin string   // the reference plugin it wraps
	Row    string   // the row meant to catch it
	Also   []string // rows that rightly see the same defect
	Break  func(*Call)
}

// Unbroken spoils nothing: the measure the others are held against.
func Unbroken(plugin string) Mutation {
	return Mutation{Name: "unbroken", Plugin: plugin, Break: (*Call).Run}
}

// Mutations lists every mutant, and the one that is none.
func Mutations() []Mutation {
	return slices.Concat([]Mutation{Unbroken("bridge")}, processMutations(), addMutations(), delMutations(), otherMutations(), chainedMutations())
}

// processMutations break the contract of the process and its parameters.
func processMutations() []Mutation {
	return []Mutation{
		{Name: "unknown-command-exits-0", Plugin: "bridge", Row: "C001", Also: []string{"C003", "C013", "C042", "C135", "C136", "C137"}, Break: func(c *Call) {
			if c.Run(); c.Verb() == "FROB" {
				c.Exit = 0
			}
		}},
		{Name: "debug-line-on-stdout", Plugin: "bridge", Row: "C005", Break: func(c *Call) {
			c.Run()
			if c.Env["CNI_LOG_LEVEL"] == "debug" {
				c.Stdout = append([]byte("debug: done\n"), c.Stdout...)
			}
		}},
		{Name: "result-and-error", Plugin: "bridge", Row: "C002", Break: func(c *Call) {
			if c.Run(); c.Verb() == "ADD" && c.Env["CNI_NETNS"] == "/proc/self/ns/net" {
				c.Stdout = append([]byte("{}\n"), c.Stdout...)
			}
		}},
		{Name: "panics-on-wrong-type", Plugin: "bridge", Row: "C003", Also: []string{"C038", "C137"}, Break: func(c *Call) {
			c.Run()
			if _, isText := c.Request()["ipam"].(string); isText {
				c.Stdout, c.Stderr, c.Exit = nil, []byte("panic: interface conversion\n\ngoroutine 1 [running]:\n"), 2
			}
		}},
		{Name: "talks-on-success", Plugin: "bridge", Row: "C004", Also: []string{"C113"}, Break: func(c *Call) {
			if c.Run(); c.Succeeded("STATUS") {
				c.Stdout = []byte(`{"ready":true}`)
			}
		}},
		{Name: "hangs-on-empty-stdin", Plugin: "bridge", Row: "C006", Break: func(c *Call) {
			if len(c.Stdin) == 0 && c.Verb() == "ADD" {
				time.Sleep(time.Minute)
			}
			c.Run()
		}},
		{Name: "follows-trace-context", Plugin: "bridge", Row: "C007", Break: func(c *Call) {
			c.Run()
			if c.Env["TRACEPARENT"] != "" {
				c.Edit(func(doc map[string]any) { doc["routes"] = []any{map[string]any{"dst": "198.51.100.0/24"}} })
			}
		}},
		{Name: "wrong-banner", Plugin: "bridge", Row: "C009", Break: func(c *Call) {
			if c.Run(); c.Verb() == "" {
				c.Stderr = []byte("bridge, the network plugin\n")
			}
		}},
		{Name: "needs-a-shell", Plugin: "bridge", Row: "C012", Break: func(c *Call) {
			if info, err := os.Stat("/bin/sh"); err == nil && info.Size() == 0 {
				c.Fail(100, "fork/exec /bin/sh: exec format error")
				return
			}
			c.Run()
		}},
		{Name: "names-one-missing-variable", Plugin: "bridge", Row: "C014", Also: []string{"C015"}, Break: func(c *Call) {
			c.Run()
			if c.Env["CNI_CONTAINERID"] == "" && c.Env["CNI_NETNS"] == "" && c.Env["CNI_COMMAND"] == "ADD" {
				c.Fail(4, "required env variables [CNI_CONTAINERID] missing")
			}
		}},
		{Name: "needs-netns-on-del", Plugin: "bridge", Row: "C016", Break: func(c *Call) {
			if _, set := c.Env["CNI_NETNS"]; !set && c.Verb() == "DEL" {
				c.Fail(4, "required env variables [CNI_NETNS] missing")
				return
			}
			c.Run()
		}},
		{Name: "refuses-dots-in-ids", Plugin: "bridge", Row: "C020", Break: func(c *Call) {
			if strings.Contains(c.Env["CNI_CONTAINERID"], "a.b") {
				c.Fail(4, "invalid characters in CNI_CONTAINERID")
				return
			}
			c.Run()
		}},
		{Name: "wants-ignoreunknown-first", Plugin: "bridge", Row: "C025", Also: []string{"C026"}, Break: func(c *Call) {
			if args := c.Env["CNI_ARGS"]; args != "" && !strings.HasPrefix(args, "IgnoreUnknown") {
				c.Fail(4, "unknown args "+args)
				return
			}
			c.Run()
		}},
		{Name: "refuses-unknown-keys", Plugin: "bridge", Row: "C035", Break: func(c *Call) {
			if ipam, _ := c.Request()["ipam"].(map[string]any); ipam["resolveConf"] != nil {
				c.Fail(2, "unsupported field ipam.resolveConf")
				return
			}
			c.Run()
		}},
		{Name: "lists-a-version-too-many", Plugin: "bridge", Row: "C047", Break: func(c *Call) {
			if c.Run(); c.Verb() == "VERSION" {
				c.Edit(func(doc map[string]any) {
					list, _ := doc["supportedVersions"].([]any)
					doc["supportedVersions"] = append(list, "1.1.1")
				})
			}
		}},
		{Name: "text-as-code", Plugin: "bridge", Row: "C135", Also: []string{"C003", "C013", "C136", "C137", "C042"}, Break: func(c *Call) {
			if c.Run(); c.Verb() == "FROB" {
				c.Edit(func(doc map[string]any) { doc["code"] = fmt.Sprint(doc["code"]) })
			}
		}},
	}
}

// addMutations break ADD of the interface plugin.
func addMutations() []Mutation {
	links := func(doc map[string]any) []any { l, _ := doc["interfaces"].([]any); return l }
	ips := func(doc map[string]any) []any { l, _ := doc["ips"].([]any); return l }
	edit := func(change func(doc map[string]any)) func(*Call) {
		return func(c *Call) {
			if c.Run(); c.Succeeded("ADD") {
				c.Edit(change)
			}
		}
	}
	// A wrong result comes back as the prevResult of CHECK, which then fails.
	checked := []string{"C039", "C099", "C109", "C119", "C125", "C126", "C133"}
	return []Mutation{
		{Name: "ignores-ifname", Plugin: "bridge", Row: "C053", Also: []string{"C060", "C072", "C073", "C089", "C099"}, Break: func(c *Call) {
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
		{Name: "hides-host-link", Plugin: "bridge", Row: "C060", Also: checked, Break: edit(func(doc map[string]any) {
			if l := links(doc); len(l) == 3 {
				l[1] = l[0] // the bridge twice, the cable's host end not at all
			}
		})},
		{Name: "stale-mac", Plugin: "bridge", Row: "C061", Also: checked, Break: edit(func(doc map[string]any) {
			for _, l := range links(doc) {
				if entry := l.(map[string]any); entry["sandbox"] != nil {
					entry["mac"] = "02:00:00:00:00:99"
				}
			}
		})},
		{Name: "wrong-interface-index", Plugin: "bridge", Row: "C064", Also: checked, Break: edit(func(doc map[string]any) {
			for _, ip := range ips(doc) {
				ip.(map[string]any)["interface"] = 3
			}
		})},
		{Name: "drops-gateway", Plugin: "bridge", Row: "C065", Break: edit(func(doc map[string]any) {
			for _, ip := range ips(doc) {
				delete(ip.(map[string]any), "gateway")
			}
		})},
		{Name: "drops-ipv6", Plugin: "bridge", Row: "C065", Also: []string{"C076", "C160"}, Break: edit(func(doc map[string]any) {
			doc["ips"] = slices.DeleteFunc(ips(doc), func(ip any) bool {
				address, _ := ip.(map[string]any)["address"].(string)
				return strings.Contains(address, ":") && len(ips(doc)) > 1
			})
		})},
		{Name: "forgets-routes", Plugin: "bridge", Row: "C069", Break: func(c *Call) {
			if c.Run(); c.Succeeded("ADD") && strings.Contains(string(c.Stdout), "2001:db8:1::/64") && !strings.Contains(string(c.Stdout), `"gw"`) {
				c.Inside("ip", "-6", "route", "del", "2001:db8:1::/64")
			}
		}},
		{Name: "wrong-metric", Plugin: "bridge", Row: "C066", Also: []string{"C104"}, Break: func(c *Call) {
			if c.Run(); c.Succeeded("ADD") {
				c.Inside("ip", "route", "del", "198.51.100.0/24", "metric", "77")
				c.Inside("ip", "route", "add", "198.51.100.0/24", "via", "10.214.0.2", "metric", "78")
			}
		}},
		{Name: "version-in-ips", Plugin: "bridge", Row: "C144", Also: []string{"C051"}, Break: edit(func(doc map[string]any) {
			if doc["cniVersion"] == "1.0.0" {
				for _, ip := range ips(doc) {
					ip.(map[string]any)["version"] = "4"
				}
			}
		})},
		{Name: "mtu-too-early", Plugin: "bridge", Row: "C145", Also: []string{"C051", "C143"}, Break: edit(func(doc map[string]any) {
			for _, l := range links(doc) {
				if doc["cniVersion"] == "0.4.0" {
					l.(map[string]any)["mtu"] = 1500
				}
			}
		})},
		{Name: "answers-other-version", Plugin: "bridge", Row: "C051", Also: []string{"C143"}, Break: edit(func(doc map[string]any) {
			if doc["cniVersion"] == "0.3.1" {
				doc["cniVersion"] = "0.3.0"
			}
		})},
		{Name: "accepts-advertisements", Plugin: "bridge", Row: "C193", Break: func(c *Call) {
			if c.Run(); c.Succeeded("ADD") {
				c.Edit(func(doc map[string]any) {
					for _, l := range links(doc) {
						if name, _ := l.(map[string]any)["name"].(string); strings.HasPrefix(name, "veth") {
							os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_ra", []byte("2"), 0o644)
						}
					}
				})
			}
		}},
		{Name: "ignores-mac", Plugin: "bridge", Row: "C172", Also: []string{"C181"}, Break: func(c *Call) {
			req := c.Request()
			if runtime, ok := req["runtimeConfig"].(map[string]any); ok && runtime["mac"] != nil {
				delete(runtime, "mac")
				c.Send(req)
			}
			c.Run()
		}},
		{Name: "ignores-dns", Plugin: "bridge", Row: "C071", Break: edit(func(doc map[string]any) {
			if dns, _ := json.Marshal(doc["dns"]); strings.Contains(string(dns), "192.0.2.53") {
				delete(doc, "dns")
			}
		})},
	}
}
