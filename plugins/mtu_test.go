package plugins_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// uplink gives the host an interface of that MTU with a default route.
func (h *host) uplink(mtu int, route string) {
	h.t.Helper()
	err := h.ns.Run("sh", "-ec", fmt.Sprintf(`ip link add uplink mtu %d type veth peer name far
		ip link set far up; ip addr add 192.0.2.1/24 dev uplink; ip addr add 2001:db8:9::1/64 dev uplink nodad; ip link set uplink up
		%s`, mtu, route))
	if err != nil {
		h.t.Fatal(err)
	}
}

// mtus gives the result's MTU of each interface, bridge first.
func mtus(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var result struct{ Interfaces []map[string]any }
	if err := json.Unmarshal(raw, &result); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, i := range result.Interfaces {
		list = append(list, fmt.Sprint(i["mtu"]))
	}
	return strings.Join(list, " ")
}

// TestMTU: without the key the MTU is that of the interface by which the host
// reaches the world, for a bridge that is made and for each link, whatever the
// bridge has at the moment.
func TestMTU(t *testing.T) {
	const v4, v6 = "ip route add default via 192.0.2.254", "ip -6 route add default via 2001:db8:9::fe"
	for name, c := range map[string]struct {
		uplink       int
		route, keys  string
		want         string // bridge, host's end, container's end
		onFullBridge string // the same for a bridge of MTU 1500 that is there
	}{
		"default route":      {1450, v4, "", "1450 1450 1450", "1450 1450 1450"},
		"IPv6 default route": {1400, v6, "", "1400 1400 1400", "1400 1400 1400"},
		"jumbo frames":       {9001, v4, "", "9001 9001 9001", "9001 9001 9001"},
		"given":              {1450, v4, `,"mtu":1300`, "1300 1300 1300", "1300 1300 1300"},
		"no default route":   {1450, "", "", "1500 1500 1500", "1500 1500 1500"},
		"blackhole":          {1450, "ip route add blackhole default; ip -6 route add unreachable default", "", "1500 1500 1500", "1500 1500 1500"},
		"all to itself":      {1450, "ip route add local default dev lo", "", "1500 1500 1500", "1500 1500 1500"},
		"layer 2":            {1450, v4, `,"isDefaultGateway":false,"ipMasq":false`, "1450 1450 1450", "1500 1500 1500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.uplink(c.uplink, c.route)
			ns := h.container()
			for range 2 { // the kernel gives an empty bridge 1500 again
				last := h.added(bridgeCall("ADD", "a", ns, "1.1.0", c.keys))
				if got := mtus(t, last); got != c.want {
					t.Errorf("result: %s, want %s", got, c.want)
				}
				shows(t, ns, "ip link show eth0", "mtu "+strings.Fields(c.want)[2]+" ")
				shows(t, h.ns, "ip link show br0", "mtu "+strings.Fields(c.want)[0]+" ")
				h.must(bridgeCall("DEL", "a", ns, "1.1.0", c.keys))
				c.want = c.onFullBridge
			}
			if got := mtus(t, h.added(bridgeCall("ADD", "a", ns, "1.0.0", c.keys))); got != "<nil> <nil> <nil>" {
				t.Errorf("result of version 1.0.0 has an MTU: %s", got)
			}
		})
	}
}
