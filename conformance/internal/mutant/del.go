package mutant

import (
	"os"
	"strings"
)

// delMutations break DEL.
var delMutations = []Mutation{
	{Name: "leaks-address", Plugin: "host-local", Row: "C079", Also: []string{"C082", "C083", "C084", "C085", "C086", "C190"}, Why: "they ask whether the address is free after other kinds of DEL", Break: func(c *Call) {
		if c.Verb() == "DEL" && strings.HasPrefix(string(c.Stdin), "{") && c.Env["CNI_CONTAINERID"] != "" && c.Env["CNI_IFNAME"] != "" {
			return
		}
		c.Run()
	}},
	{Name: "fails-second-del", Plugin: "bridge", Row: "C080", Also: []string{"C081", "C090"}, Why: "they repeat a DEL as well", Break: func(c *Call) {
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
	{Name: "del-needs-netns", Plugin: "bridge", Row: "C082", Break: func(c *Call) {
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
	{Name: "del-needs-prevresult", Plugin: "bridge", Row: "C085", Also: []string{"C081", "C190"}, Why: "their DEL has no prevResult, because no ADD succeeded", Break: func(c *Call) {
		if c.Verb() == "DEL" && c.Request()["name"] != nil && c.Request()["prevResult"] == nil {
			c.Fail(7, "prevResult is missing")
			return
		}
		c.Run()
	}},
	{Name: "breaks-sibling", Plugin: "bridge", Row: "C089", Break: func(c *Call) {
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
