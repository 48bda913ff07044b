package plugins_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// routedCall is a call of a plugin whose IPAM gives two addresses and routes.
func routedCall(verb, plugin string, ns *netns.Namespace, keys, routes string) call {
	return call{verb: verb, plugin: plugin, container: "a", netns: ns.Path(), conf: fmt.Sprintf(
		`{"cniVersion":"1.1.0","name":"testnet","type":%q%s,"ipam":{"type":"static","addresses":[{"address":"10.88.0.2/16","gateway":"10.88.0.1"},
		{"address":"fd00:88::2/64","gateway":"fd00:88::1"}],"routes":[%s]}}`, plugin, keys, routes)}
}

const allRoutes = `
	{"dst":"192.0.2.0/24"},
	{"dst":"2001:db8:1::/48"},
	{"dst":"198.51.100.0/24","gw":"10.88.0.9","mtu":1300,"advmss":1200,"priority":50,"table":100},
	{"dst":"2001:db8:2::/48","gw":"fd00:88::9","mtu":1300,"advmss":1200,"priority":50,"table":100},
	{"dst":"203.0.113.0/25","scope":0},
	{"dst":"10.1.0.0/16","gw":"10.88.0.7"},
	{"dst":"10.1.0.0/16","gw":"10.88.0.8"},
	{"dst":"10.1.0.0/16","gw":"10.88.0.6","priority":9},
	{"dst":"2001:db8:3::/48","gw":"fd00:88::7"},
	{"dst":"2001:db8:3::/48","gw":"fd00:88::8"}`

// TestRoutes compares what `ip route` says with what was asked for.
func TestRoutes(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	keys := `,"bridge":"br0","isGateway":true`
	last := h.added(routedCall("ADD", "bridge", ns, keys, allRoutes))
	lines := map[string][]string{
		"ip -4 route show table main": {
			"192.0.2.0/24 via 10.88.0.1 dev eth0",
			"203.0.113.0/25 via 10.88.0.1 dev eth0",
			"10.1.0.0/16 via 10.88.0.6 dev eth0 metric 9",
			"nexthop via 10.88.0.7 dev eth0 weight 1",
			"nexthop via 10.88.0.8 dev eth0 weight 1",
		},
		"ip -4 route show table 100":  {"198.51.100.0/24 via 10.88.0.9 dev eth0 metric 50 mtu 1300 advmss 1200"},
		"ip -6 route show table main": {"2001:db8:1::/48 via fd00:88::1 dev eth0", "nexthop via fd00:88::7 dev eth0 weight 1", "nexthop via fd00:88::8 dev eth0 weight 1"},
		"ip -6 route show table 100":  {"2001:db8:2::/48 via fd00:88::9 dev eth0 metric 50 mtu 1300 advmss 1200"},
	}
	for command, want := range lines {
		shows(t, ns, command, want...)
	}
	var result struct {
		Routes []struct {
			Dst, GW               string
			MTU, AdvMSS, Priority int
			Table, Scope          *int
		}
	}
	if err := json.Unmarshal(last, &result); err != nil || len(result.Routes) != 10 {
		t.Fatalf("%v: %s", err, last)
	}
	if r := result.Routes[2]; r.MTU != 1300 || r.AdvMSS != 1200 || r.Priority != 50 || r.Table == nil || *r.Table != 100 || r.Scope != nil {
		t.Errorf("result: %+v", r)
	}
	if r := result.Routes[4]; r.Scope == nil || *r.Scope != 0 || r.GW != "10.88.0.1" {
		t.Errorf("result: %+v", r)
	}
	check := routedCall("CHECK", "bridge", ns, keys+`,"prevResult":`+string(last), allRoutes)
	h.must(check)
	// What others add is none of our business: another next hop, another route.
	if err := ns.Run("sh", "-c", "ip route append 10.1.0.0/16 via 10.88.0.5 dev eth0; ip route add 172.16.0.0/12 via 10.88.0.1"); err != nil {
		t.Fatal(err)
	}
	h.must(check)
	checkRoutes(t, h, ns, check)
	h.must(routedCall("DEL", "bridge", ns, keys, ""))
	h.wantClean()
}

// checkRoutes breaks and mends one route after the other.
func checkRoutes(t *testing.T, h *host, ns *netns.Namespace, check call) {
	t.Helper()
	for _, c := range []struct{ broken, mended, want string }{
		{"route del 192.0.2.0/24", "route add 192.0.2.0/24 via 10.88.0.1", "route to 192.0.2.0/24 via 10.88.0.1 is missing"},
		{"route del 198.51.100.0/24 table 100", "route add 198.51.100.0/24 via 10.88.0.9 table 100 metric 50 mtu 1300 advmss 1200", "route to 198.51.100.0/24 via 10.88.0.9 is missing"},
		{"route change 198.51.100.0/24 via 10.88.0.9 table 100 metric 50 mtu 1400 advmss 1200", "route change 198.51.100.0/24 via 10.88.0.9 table 100 metric 50 mtu 1300 advmss 1200", "metric 50, table 100, mtu 1300, advmss 1200"},
		{"-6 route del 2001:db8:2::/48 table 100; ip -6 route add 2001:db8:2::/48 via fd00:88::9 table 100 metric 60 mtu 1300 advmss 1200",
			"-6 route add 2001:db8:2::/48 via fd00:88::9 table 100 metric 50 mtu 1300 advmss 1200", "route to 2001:db8:2::/48 via fd00:88::9 is missing"},
		{"-6 route del 2001:db8:3::/48 via fd00:88::8", "-6 route append 2001:db8:3::/48 via fd00:88::8", "route to 2001:db8:3::/48 via fd00:88::8 is missing"},
		{"route del 10.1.0.0/16 metric 9", "route add 10.1.0.0/16 via 10.88.0.6 metric 9", "route to 10.1.0.0/16 via 10.88.0.6 is missing"},
		{"route replace 10.1.0.0/16 via 10.88.0.7 dev eth0", "route replace 10.1.0.0/16 nexthop via 10.88.0.7 dev eth0 nexthop via 10.88.0.8 dev eth0", ""},
	} {
		if err := ns.Run("sh", "-c", "ip "+c.broken); err != nil {
			t.Fatal(err)
		}
		if f := h.refuse(check); f.Code != 109 || !strings.Contains(f.Msg, c.want) {
			t.Errorf("%s: %+v", c.broken, f)
		}
		if err := ns.Run("sh", "-c", "ip "+c.mended); err != nil {
			t.Fatal(err)
		}
		h.must(check)
	}
}

// TestRouteScope tells a scope of 0 from none: a route without a gateway is of
// scope link unless it is said to be of scope global (0).
func TestRouteScope(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	h.added(call{verb: "ADD", plugin: "bridge", container: "a", netns: ns.Path(), conf: `{"cniVersion":"1.1.0","name":"testnet","type":"bridge","bridge":"br0",
		"ipam":{"type":"static","addresses":[{"address":"10.88.0.2/16"}],"routes":[{"dst":"192.0.2.0/25","scope":0},{"dst":"192.0.2.128/25"},{"dst":"198.51.100.0/24","scope":200}]}}`})
	out, err := ns.Output("ip", "-N", "-4", "route", "show", "scope", "all")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "192.") || strings.HasPrefix(line, "198.") {
			got = append(got, strings.Join(fields, " "))
		}
	}
	want := "192.0.2.0/25 dev eth0|192.0.2.128/25 dev eth0 scope 253|198.51.100.0/24 dev eth0 scope 200"
	if strings.Join(got, "|") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}
