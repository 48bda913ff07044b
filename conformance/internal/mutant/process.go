package mutant

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// processMutations break the contract of the process and its parameters.
var processMutations = []Mutation{
	{Name: "unknown-command-exits-0", Plugin: "bridge", Row: "C001", Also: []string{"C003", "C013", "C135"}, Why: "they send FROB too, and want it refused", Break: func(c *Call) {
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
	{Name: "panics-on-wrong-type", Plugin: "bridge", Row: "C003", Break: func(c *Call) {
		c.Run()
		if _, isText := c.Request()["ipam"].(string); isText {
			c.Stdout, c.Stderr, c.Exit = nil, []byte("panic: interface conversion\n\ngoroutine 1 [running]:\n"), 2
		}
	}},
	{Name: "talks-on-success", Plugin: "bridge", Row: "C004", Also: []string{"C113"}, Why: "it wants STATUS to be silent", Break: func(c *Call) {
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
	{Name: "names-one-missing-variable", Plugin: "bridge", Row: "C014", Break: func(c *Call) {
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
	{Name: "wants-ignoreunknown-first", Plugin: "bridge", Row: "C025", Also: []string{"C026"}, Why: "it has IgnoreUnknown in every position", Break: func(c *Call) {
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
	{Name: "text-as-code", Plugin: "bridge", Row: "C135", Also: []string{"C003", "C013"}, Why: "an error document without a number as code is none", Break: func(c *Call) {
		if c.Run(); c.Verb() == "FROB" {
			c.Edit(func(doc map[string]any) { doc["code"] = fmt.Sprint(doc["code"]) })
		}
	}},
}
