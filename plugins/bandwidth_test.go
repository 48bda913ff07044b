package plugins_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

const bothLimits = `"ingressRate":8000000,"ingressBurst":80000,"egressRate":16000000,"egressBurst":160000`

// limited attaches container a with limits, by the bridge itself or by the
// chained plugin; both gives the last result and the names of the host's end
// and of the intermediate device.
func (h *host) limited(chained bool, ns *netns.Namespace, limits string) (last json.RawMessage, veth, ifb string) {
	h.t.Helper()
	if chained {
		first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
		last = h.added(after(first, "ADD", "bandwidth", "a", ns, ","+limits))
	} else {
		last = h.added(bridgeCall("ADD", "a", ns, "1.1.0", `,"runtimeConfig":{"bandwidth":{`+limits+`}}`))
	}
	var r result
	if err := json.Unmarshal(last, &r); err != nil || len(r.Interfaces) != 4 || r.Interfaces[3].Sandbox != "" || !strings.HasPrefix(r.Interfaces[3].Name, "bwp") {
		h.t.Fatalf("result: %v\n%s", err, last)
	}
	return last, r.Interfaces[1].Name, r.Interfaces[3].Name
}

func TestBandwidth(t *testing.T) {
	for name, chained := range map[string]bool{"bridge": false, "chained": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			ns := h.container()
			last, veth, ifb := h.limited(chained, ns, bothLimits)
			shows(t, h.ns, "tc qdisc show dev "+veth, "tbf 1: root", "rate 8Mbit burst 10000b lat 25ms", "ingress ffff:")
			shows(t, h.ns, "tc qdisc show dev "+ifb, "tbf 1: root", "rate 16Mbit burst 20000b lat 25ms")
			shows(t, h.ns, "tc filter show dev "+veth+" ingress", "Egress Redirect to device "+ifb)
			shows(t, h.ns, "ip link show dev "+ifb, "mtu 1500", "UP")

			check, del := after(last, "CHECK", "bandwidth", "a", ns, ","+bothLimits), after(nil, "DEL", "bandwidth", "a", nil, "")
			if !chained {
				check = bridgeCall("CHECK", "a", ns, "1.1.0", `,"prevResult":`+string(last))
				del = bridgeCall("DEL", "a", nil, "1.1.0", "")
			}
			h.must(check)
			for _, c := range []struct{ broken, mended, want string }{
				{"tc filter del dev " + veth + " ingress", "tc filter add dev " + veth + " ingress prio 1 u32 match u32 0 0 action mirred egress redirect dev " + ifb, "is not led through " + ifb},
				{"tc qdisc del dev " + ifb + " root", "tc qdisc add dev " + ifb + " root handle 1: tbf rate 16mbit burst 20000b latency 25ms", ifb + " is not limited to 16000000 bit/s any more"},
				{"tc qdisc change dev " + veth + " root handle 1: tbf rate 9mbit burst 10000b latency 25ms", "tc qdisc change dev " + veth + " root handle 1: tbf rate 8mbit burst 10000b latency 25ms", "is limited to 9000000 bit/s, not 8000000"},
				{"tc qdisc del dev " + veth + " root", "", veth + " is not limited to 8000000 bit/s any more"},
			} {
				if err := h.ns.Run("sh", "-c", c.broken); err != nil {
					t.Fatal(err)
				}
				if f := h.refuse(check); f.Code != 109 || !strings.Contains(f.Msg, c.want) {
					t.Errorf("%s: %+v", c.broken, f)
				}
				if c.mended == "" {
					continue
				}
				if err := h.ns.Run("sh", "-c", c.mended); err != nil {
					t.Fatal(err)
				}
				h.must(check)
			}
			h.must(del)
			h.must(del)
			if out, err := h.ns.Output("tc", "qdisc"); err != nil || strings.Contains(out, "tbf") || strings.Contains(out, "ingress") {
				t.Errorf("queues left: %s, %v", out, err)
			}
			h.must(bridgeCall("DEL", "a", nil, "1.1.0", ""))
			h.wantClean()
		})
	}
}

// TestBandwidthValues: what runtimes mean by "no burst limit" is accepted, half
// a limit is not, and nothing at all is passed on.
func TestBandwidthValues(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	first := h.added(bridgeCall("ADD", "a", ns, "1.1.0", ""))
	before := h.residue()
	for _, burst := range []string{"4294967295", "34359738359"} {
		for _, rate := range []string{"8", "1000000", "10000000000", "400000000000"} {
			keys := fmt.Sprintf(`,"runtimeConfig":{"bandWidth":{"EgressRate":%s,"EgressBurst":%s,"IngressRate":%s,"IngressBurst":8}}`, rate, burst, rate)
			last := h.added(after(first, "ADD", "bandwidth", "a", ns, keys))
			h.must(after(last, "CHECK", "bandwidth", "a", ns, keys))
			h.must(after(last, "DEL", "bandwidth", "a", ns, keys))
		}
	}
	for keys, want := range map[string]string{
		`,"ingressRate":1000`: "want both or neither",
		`,"runtimeConfig":{"bandwidth":{"egressBurst":1000}}`: "want both or neither",
		`,"egressRate":1000,"egressBurst":34359738360`:        "want at most 34359738359 bits",
	} {
		if f := h.refuse(after(first, "ADD", "bandwidth", "a", ns, keys)); f.Code != 7 || !strings.Contains(f.Msg, want) {
			t.Errorf("%s: %+v", keys, f)
		}
	}
	if f := h.refuse(after(nil, "ADD", "bandwidth", "a", ns, "")); f.Code != 7 || !strings.Contains(f.Msg, "prevResult") {
		t.Errorf("without a previous result: %+v", f)
	}
	for _, keys := range []string{"", `,"runtimeConfig":{"bandwidth":{}}`, `,"ingressRate":0`} {
		if r := h.must(after(first, "ADD", "bandwidth", "a", ns, keys)); len(r.Interfaces) != 3 {
			t.Errorf("%s: %+v", keys, r)
		}
		h.must(after(first, "CHECK", "bandwidth", "a", ns, keys))
	}
	if left := h.residue(); left != before {
		t.Errorf("left\n%s\nwas\n%s", left, before)
	}
}

// TestBandwidthNeedsAPair: other links, pairs whose other end is elsewhere, and
// a pair that is limited already are refused, and stay as they are.
func TestBandwidthNeedsAPair(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	previous := json.RawMessage(fmt.Sprintf(`{"cniVersion":"1.1.0","interfaces":[{"name":"v0"},{"name":"eth0","sandbox":%q}]}`, ns.Path()))
	add := func() failure { return h.refuse(after(previous, "ADD", "bandwidth", "a", ns, ","+bothLimits)) }
	run := func(ns *netns.Namespace, command string) {
		t.Helper()
		if err := ns.Run("sh", "-c", command); err != nil {
			t.Fatal(err)
		}
	}
	run(ns, "ip link add eth0 type ifb")
	if f := add(); !strings.Contains(f.Msg, "it is a ifb") {
		t.Errorf("%+v", f)
	}
	// The other end has the index that v0 has on the host.
	run(ns, "ip link del eth0; ip link add eth0 type veth peer name far")
	index, err := ns.Output("sh", "-c", "ip -o link show far | cut -d: -f1")
	if err != nil {
		t.Fatal(err)
	}
	run(h.ns, "ip link add v0 index "+strings.TrimSpace(index)+" type veth")
	if f := add(); !strings.Contains(f.Msg, "the other end of the pair is not on the host") {
		t.Errorf("%+v", f)
	}
	run(ns, "ip link del eth0")
	run(h.ns, fmt.Sprintf("ip link del v0; ip link add v1 type veth peer name eth0 netns %s", ns.Path()))
	if f := add(); !strings.Contains(f.Msg, "the other end v1 of the pair is not among the interfaces of prevResult") {
		t.Errorf("%+v", f)
	}
	run(h.ns, "ip link set v1 name v0; tc qdisc add dev v0 root tbf rate 1mbit burst 10kb latency 1ms")
	if f := add(); !strings.Contains(f.Msg, "v0 has a tbf queue: limits are set already") {
		t.Errorf("%+v", f)
	}
	shows(t, h.ns, "tc qdisc show dev v0", "tbf", "rate 1Mbit")
	if left := h.residue(); strings.Contains(left, "bwp") || strings.Contains(left, "ledger") {
		t.Errorf("left: %s", left)
	}
}

// TestBandwidthIsCollected: GC removes the device of an attachment whose
// namespace is gone, and DEL that of the reference plugin.
func TestBandwidthIsCollected(t *testing.T) {
	h := newHost(t)
	for _, chained := range []bool{false, true} {
		ns := h.container()
		h.limited(chained, ns, bothLimits)
		ns.Close()
		for _, plugin := range []string{"bandwidth", "bridge"} {
			h.must(after(nil, "GC", plugin, "", nil, `,"bridge":"br0","cni.dev/valid-attachments":[]`))
		}
		h.wantClean()
	}
	// bwp and the start of SHA-512("testnet" "a"), as the reference plugin names it.
	if err := h.ns.Run("sh", "-c", `ip link add bwp$(printf testneta | sha512sum | cut -c1-12) type ifb`); err != nil {
		t.Fatal(err)
	}
	h.must(after(nil, "DEL", "bandwidth", "a", nil, ""))
	h.wantClean()
}

// TestSecondInterfaceKeepsItsLimits when the first one goes.
func TestSecondInterfaceKeepsItsLimits(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	limits := `,"runtimeConfig":{"bandwidth":{` + bothLimits + `}}`
	for _, name := range []string{"eth0", "eth1"} {
		c := bridgeCall("ADD", "a", ns, "1.1.0", limits)
		c.ifname = name
		h.added(c)
	}
	h.must(bridgeCall("DEL", "a", ns, "1.1.0", ""))
	if left := h.residue(); strings.Count(left, "bwp") != 1 {
		t.Errorf("want one device: %s", left)
	}
	c := bridgeCall("DEL", "a", nil, "1.1.0", "")
	c.ifname = "eth1"
	h.must(c)
	h.wantClean()
}

// TestBandwidthLimits measures, coarsely: of an unlimited second each direction
// lets through what its rate says, give or take a factor of two. A machine that
// is busy elsewhere can only take from it, so it gets some tries.
func TestBandwidthLimits(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	h.limited(false, ns, `"ingressRate":20000000,"ingressBurst":800000,"egressRate":80000000,"egressBurst":800000`)
	for _, c := range []struct {
		name     string
		from, to *netns.Namespace
		address  string
		rate     float64 // bytes in a second
	}{
		{"ingress", h.ns, ns, "10.88.0.2:9000", 20e6 / 8},
		{"egress", ns, h.ns, "10.88.0.1:9000", 80e6 / 8},
	} {
		got := 0.0
		for try := 0; try < 20 && got < c.rate/2; try++ {
			got = throughput(t, c.from, c.to, c.address, time.Second)
		}
		if got < c.rate/2 || got > c.rate*2 {
			t.Errorf("%s: %.0f bytes/s, want about %.0f", c.name, got, c.rate)
		}
		t.Logf("%s: %.1f Mbit/s of %.1f", c.name, got*8/1e6, c.rate*8/1e6)
	}
}

// throughput counts the bytes that arrive in a second.
func throughput(t *testing.T, from, to *netns.Namespace, address string, length time.Duration) float64 {
	t.Helper()
	var listener net.Listener
	if err := to.Do(func() (err error) { listener, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var sender net.Conn
	if err := from.Do(func() (err error) { sender, err = net.DialTimeout("tcp", address, 40*time.Second); return err }); err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	receiver, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	go func() {
		block := make([]byte, 64<<10)
		for {
			if _, err := sender.Write(block); err != nil {
				return
			}
		}
	}()
	start := time.Now()
	_ = receiver.SetReadDeadline(start.Add(length))
	n, _ := io.Copy(io.Discard, receiver)
	return float64(n) / time.Since(start).Seconds()
}
