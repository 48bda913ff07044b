package plugins_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

func TestBridgeJoinsContainers(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			a, b := h.container(), h.container()
			first := h.must(bridgeCall("ADD", "a", a, version, ""))
			second := h.must(bridgeCall("ADD", "b", b, version, ""))
			if first.IPs[0].Address != "10.88.0.2/16" || second.IPs[0].Address != "10.88.0.3/16" || second.IPs[1].Address != "fd00:88::3/64" {
				t.Fatalf("addresses: %v, %v", first.IPs, second.IPs)
			}
			for i, address := range []string{"10.88.0.3:80", "[fd00:88::3]:80"} {
				serve(t, b, address, "b")
				for _, from := range []*netns.Namespace{a, h.ns} {
					if got, err := ask(from, address); err != nil || got != "b" {
						t.Errorf("%d: %s: %q, %v", i, address, got, err)
					}
				}
			}
			h.must(bridgeCall("DEL", "a", a, version, ""))
			h.must(bridgeCall("DEL", "b", b, version, ""))
			h.wantClean()
		})
	}
}

// TestDelNeedsOnlyNames deletes with a namespace that is not named, gone, or a
// plain file, as nerdctl and a kubelet after a reboot do.
func TestDelNeedsOnlyNames(t *testing.T) {
	const port = `,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"not named": "", "gone": "/run/netns/no-such", "plain file": file} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.must(bridgeCall("ADD", "a", h.container(), "1.1.0", port))
			for range 2 { // the second finds nothing, which is no error
				h.must(call{verb: "DEL", plugin: "bridge", container: "a", netns: path, conf: bridgeConf("1.1.0", "")})
			}
			h.wantClean()
		})
	}
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	added := h.run(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	check := func() call { return bridgeCall("CHECK", "a", ns, "1.1.0", `,"prevResult":`+string(added.out)) }
	h.must(check())
	if f := h.refuse(bridgeCall("CHECK", "a", ns, "1.1.0", "")); f.Code != 7 || !strings.Contains(f.Msg, "prevResult") {
		t.Errorf("without prevResult: %+v", f)
	}
	for _, c := range []struct {
		name, broken, mended, want string
		where                      *netns.Namespace
	}{
		{"route", "ip route del default", "ip route add default via 10.88.0.1", "route to 0.0.0.0/0 via 10.88.0.1 is missing", ns},
		{"address", "ip addr del 10.88.0.2/16 dev eth0", "ip addr add 10.88.0.2/16 dev eth0", "interface eth0 has lost its address 10.88.0.2/16", ns},
		{"gateway", "ip addr del 10.88.0.1/16 dev br0", "ip addr add 10.88.0.1/16 dev br0", "bridge br0 has lost its gateway address 10.88.0.1/16", h.ns},
		{"link", "ip link set eth0 down", "ip link set eth0 up", "is down", ns},
		{"rules", "iptables -t nat -F; iptables -t nat -X; nft flush ruleset", "", "", h.ns},
	} {
		if err := c.where.Run("sh", "-c", c.broken); err != nil {
			t.Fatal(err)
		}
		if f := h.refuse(check()); f.Code != 109 || !strings.Contains(f.Msg, c.want) {
			t.Errorf("%s: %+v, want %q", c.name, f, c.want)
		}
		if c.mended == "" {
			continue
		}
		if err := c.where.Run("sh", "-c", c.mended); err != nil {
			t.Fatal(err)
		}
		if c.name == "address" || c.name == "link" { // the default routes went with them
			_ = ns.Run("sh", "-c", "ip route replace default via 10.88.0.1; ip -6 route replace default via fd00:88::1")
		}
		h.must(check())
	}
}

// eventually waits for what comes about by itself, without a time to be met.
func eventually(t *testing.T, what string, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fn(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func each(n int, fn func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func TestRefusalsTouchNothing(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	holder := h.container()
	var busy net.Listener
	if err := h.ns.Do(func() (err error) { busy, err = net.Listen("tcp", ":9090"); return err }); err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	h.must(bridgeCall("ADD", "holder", holder, "1.1.0", `,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`))
	before := h.residue()
	ports := func(list string) string { return `,"runtimeConfig":{"portMappings":[` + list + `]}` }
	for name, c := range map[string]struct {
		call call
		code int
		msg  string
	}{
		"unknown verb":      {bridgeCall("FROB", "a", ns, "1.1.0", ""), 4, `unknown CNI_COMMAND "FROB"`},
		"no JSON":           {call{verb: "ADD", plugin: "bridge", container: "a", netns: ns.Path(), conf: "{"}, 6, "standard input"},
		"version":           {bridgeCall("ADD", "a", ns, "9.9.9", ""), 1, `incompatible cniVersion "9.9.9"`},
		"no such namespace": {call{verb: "ADD", plugin: "bridge", container: "a", netns: "/run/netns/nope", conf: bridgeConf("1.1.0", "")}, 3, "/run/netns/nope"},
		"own namespace":     {call{verb: "ADD", plugin: "bridge", container: "a", netns: "/proc/self/ns/net", conf: bridgeConf("1.1.0", "")}, 8, "own"},
		"container ID":      {bridgeCall("ADD", "../a", ns, "1.1.0", ""), 4, `invalid CNI_CONTAINERID "../a"`},
		"host port 0":       {bridgeCall("ADD", "a", ns, "1.1.0", ports(`{"hostPort":0,"containerPort":80}`)), 7, "invalid hostPort 0"},
		"protocol":          {bridgeCall("ADD", "a", ns, "1.1.0", ports(`{"hostPort":1,"containerPort":80,"protocol":"icmp"}`)), 7, `invalid protocol "icmp"`},
		"host IP":           {bridgeCall("ADD", "a", ns, "1.1.0", ports(`{"hostPort":1,"containerPort":80,"hostIP":"x"}`)), 7, `invalid hostIP "x"`},
		"port of container": {bridgeCall("ADD", "a", ns, "1.1.0", ports(`{"hostPort":8080,"containerPort":80}`)), 105, "port 8080/tcp is already taken by container holder"},
		"port of process":   {bridgeCall("ADD", "a", ns, "1.1.0", ports(`{"hostPort":9090,"containerPort":80}`)), 105, "port 9090/tcp on any address is in use by plugins.test"},
		"address taken":     {bridgeCall("ADD", "a", ns, "1.1.0", `,"runtimeConfig":{"ips":["10.88.0.2"]}`), 102, "address 10.88.0.2 is already taken by container holder"},
		"address outside":   {bridgeCall("ADD", "a", ns, "1.1.0", `,"runtimeConfig":{"ips":["10.99.0.2"]}`), 103, "address 10.99.0.2 can't be given out"},
		"gateway's address": {bridgeCall("ADD", "a", ns, "1.1.0", `,"runtimeConfig":{"ips":["10.88.0.1/16"]}`), 103, "address 10.88.0.1 can't be given out"},
		"interface there":   {bridgeCall("ADD", "holder2", holder, "1.1.0", ""), 108, "interface eth0 exists already"},
		"IPAM not found":    {call{verb: "ADD", plugin: "bridge", container: "a", netns: ns.Path(), conf: `{"cniVersion":"1.0.0","name":"testnet","type":"bridge","ipam":{"type":"nope"}}`}, 7, `"nope"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := h.refuse(c.call)
			if f.Code != c.code || !strings.Contains(f.Msg, c.msg) {
				t.Errorf("got %d %q, want %d %q", f.Code, f.Msg, c.code, c.msg)
			}
			if after := h.residue(); after != before {
				t.Errorf("changed:\n%s\nwas:\n%s", after, before)
			}
		})
	}
}

func TestNoneAndHost(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	conf := func(kind string) string { return fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"type":%q}`, kind, kind) }
	h.must(call{verb: "ADD", plugin: "none", container: "a", netns: ns.Path(), conf: conf("none")})
	out, err := ns.Output("ip", "-brief", "link")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "lo ") || !strings.Contains(out, "UP") {
		t.Errorf("none: %s, %v", out, err)
	}
	h.must(call{verb: "DEL", plugin: "none", container: "a", conf: conf("none")})

	if f := h.refuse(call{verb: "ADD", plugin: "host", container: "a", netns: ns.Path(), conf: conf("host")}); !strings.Contains(f.Msg, "private network namespace") {
		t.Errorf("host in a private namespace: %+v", f)
	}
	if err := h.ns.Run("ip", "addr", "add", "192.0.2.7/24", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	r := h.must(call{verb: "ADD", plugin: "host", container: "a", netns: h.ns.Path(), conf: conf("host")})
	if len(r.IPs) != 1 || r.IPs[0].Address != "192.0.2.7/24" {
		t.Errorf("host: %+v", r)
	}
	h.must(call{verb: "DEL", plugin: "host", container: "a", netns: h.ns.Path(), conf: conf("host")})
	h.wantClean()
}
