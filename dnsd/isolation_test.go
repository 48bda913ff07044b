package dnsd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/ipam/ledger"
)

// internal makes an internal network.
func (w *world) internal(name string, gateways ...string) {
	w.t.Helper()
	w.network(name, gateways...)
	n := w.networks[name]
	n.internal = true
	w.networks[name] = n
}

// TestForeignGateway: a container that asks the gateway of a network it is not
// on gets no answer, nor does a host of the LAN; the host itself does.
func TestForeignGateway(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24", "fd00:88::1/64")
	w.network("back", "10.89.0.1/24", "fd00:89::1/64")
	web := w.container("front", "web")
	db := w.container("back", "db")
	for _, c := range []*container{web, db} {
		run(t, c.Namespace, "ip route add default via "+w.networks[c.key.Network].gateways[0].Addr().String())
		run(t, c.Namespace, "ip -6 route add default via "+w.networks[c.key.Network].gateways[1].Addr().String())
	}
	lan := namespace(t)
	run(t, w.host, "ip link add lan0 type veth peer name eth0 netns "+lan.Path())
	run(t, w.host, "ip addr add 192.0.2.1/24 dev lan0")
	run(t, w.host, "ip link set lan0 up")
	run(t, lan, "ip addr add 192.0.2.7/24 dev eth0")
	run(t, lan, "ip link set eth0 up")
	run(t, lan, "ip route add default via 192.0.2.1")
	w.serve()

	for _, transport := range []string{"udp", "tcp"} {
		for _, server := range []string{"10.89.0.1", "fd00:89::1"} {
			if got := answers(askBriefly(web.Namespace, transport, server, query("db", dns.TypeA))); !strings.HasPrefix(got, "error") && got != "REFUSED" {
				t.Errorf("web asks %s over %s: %s", server, transport, got)
			}
			if got := answers(ask(w.host, transport, server, query("db", dns.TypeA))); got != "10.89.0.2" {
				t.Errorf("the host asks %s over %s: %s", server, transport, got)
			}
		}
		if got := answers(askBriefly(lan, transport, "10.89.0.1", query("db", dns.TypeA))); !strings.HasPrefix(got, "error") && got != "REFUSED" {
			t.Errorf("a LAN host over %s: %s", transport, got)
		}
		if got := answers(askBriefly(lan, transport, "192.0.2.1", query("db", dns.TypeA))); !strings.HasPrefix(got, "error") {
			t.Errorf("a LAN host asks the host's own address over %s: %s", transport, got)
		}
	}
	// An address on the right bridge that is nobody's.
	run(t, web.Namespace, "ip addr del 10.88.0.2/24 dev eth0")
	run(t, web.Namespace, "ip addr add 10.88.0.77/24 dev eth0")
	if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "REFUSED" {
		t.Errorf("an address without an attachment: %s", got)
	}
}

// TestInternal: from an internal network nothing is forwarded, and the client
// knows at once; a server of its own inside the network is asked.
func TestInternal(t *testing.T) {
	w := newWorld(t)
	w.internal("vault", "10.90.0.1/24")
	safe := w.container("vault", "safe")
	key := w.container("vault", "key")
	upstream := w.startUpstream("127.0.0.53")
	w.setUpstream("127.0.0.53", "192.0.2.53")
	// The host has a way out, on which everything to port 53 is counted.
	run(t, w.host, "ip link add wan type bridge")
	run(t, w.host, "ip link set wan up")
	run(t, w.host, "ip route add default dev wan")
	for _, line := range []string{"add table inet watch", "add chain inet watch out { type filter hook output priority 0; }",
		"add rule inet watch out ip daddr != 10.90.0.0/24 th dport 53 counter"} {
		run(t, w.host, "nft "+line)
	}
	w.serve()

	for _, name := range []string{"example.org", "intranet", "host.docker.internal", "1.2.0.192.in-addr.arpa", "nobody.netctl.internal"} {
		m, err := ask(safe.Namespace, "udp", "10.90.0.1", query(name, dns.TypeA).SetEdns0(1232, false))
		if got := answers(m, err); got != "NXDOMAIN" || len(m.Ns) != 1 {
			t.Errorf("%s: %s", name, got)
		}
	}
	fastest(t, "an answer about a name outside", 5*time.Millisecond, func() time.Duration {
		start := time.Now()
		ask(safe.Namespace, "udp", "10.90.0.1", query("example.org", dns.TypeA))
		return time.Since(start)
	})
	if got := answers(ask(safe.Namespace, "udp", "10.90.0.1", query("key", dns.TypeA))); got != "10.90.0.3" {
		t.Errorf("a name of the network: %s", got)
	}
	if seen := upstream.names(); len(seen) > 0 {
		t.Errorf("upstream was asked for %v", seen)
	}
	if out, err := w.host.Output("nft", "list", "table", "inet", "watch"); err != nil || !strings.Contains(out, "counter packets 0 bytes 0") {
		t.Errorf("packets have left the host: %s, %v", out, err)
	}

	inside := new(fakeUpstream)
	serveIn(t, key.Namespace, "10.90.0.3", inside)
	r := w.record(safe.key)
	r.Names.Servers = addrs("192.0.2.99", "10.90.0.3")
	if err := w.sync(w.put(r), "vault"); err != nil {
		t.Fatal(err)
	}
	if got := answers(ask(safe.Namespace, "udp", "10.90.0.1", query("example.org", dns.TypeA))); got != "192.0.2.1" {
		t.Errorf("with a server inside: %s", got)
	}
	if len(inside.names()) != 1 || len(upstream.names()) != 0 {
		t.Errorf("inside was asked for %v, upstream for %v", inside.names(), upstream.names())
	}
}

// TestUpstreams are the demands on forwarding with the real times.
func TestUpstreams(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	w.startUpstream("127.0.0.53")
	run(t, w.host, "ip route add blackhole 192.0.2.0/24")
	run(t, w.host, "ip link add void type bridge") // takes all and says nothing
	run(t, w.host, "ip link set void up")
	run(t, w.host, "ip route add 198.51.100.0/24 dev void")
	run(t, w.host, "ip neigh add 198.51.100.1 dev void lladdr 02:00:00:00:00:01")
	run(t, w.host, "ip neigh add 198.51.100.2 dev void lladdr 02:00:00:00:00:01")
	w.setUpstream("198.51.100.1", "127.0.0.53")
	w.serve()
	asked := 0
	timed := func(want string) time.Duration {
		t.Helper()
		asked++ // a question of its own, which shares no other one's answer
		start := time.Now()
		if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query(fmt.Sprintf("n%d.example", asked), dns.TypeA))); got != want {
			t.Errorf("question %d: got %s, want %s", asked, got, want)
		}
		return time.Since(start)
	}
	if took := timed("192.0.2.1"); took < 900*time.Millisecond {
		t.Errorf("the first server is dead: an answer after %s, which is before the second one's turn", took)
	}
	fastest(t, "the first server is dead", 1100*time.Millisecond, func() time.Duration { return timed("192.0.2.1") })
	for _, list := range [][]string{{"127.0.0.53"}, {"192.0.2.1", "127.0.0.53"}} { // alone; behind one without a route
		w.changeUpstream(list...)
		fastest(t, fmt.Sprint("servers ", list), 900*time.Millisecond, func() time.Duration { return timed("192.0.2.1") })
	}
	w.changeUpstream("10.88.0.1")
	fastest(t, "only ourselves for a server", 900*time.Millisecond, func() time.Duration { return timed("SERVFAIL") })
	w.changeUpstream("198.51.100.1", "198.51.100.2")
	fastest(t, "all servers are dead", 4900*time.Millisecond, func() time.Duration { return timed("SERVFAIL") })
	r := w.record(web.key)
	r.Names.Servers = addrs("127.0.0.53")
	if err := w.sync(w.put(r), "front"); err != nil {
		t.Fatal(err)
	}
	timed("192.0.2.1")
}

// changeUpstream is setUpstream, and waits until the resolver knows.
func (w *world) changeUpstream(servers ...string) {
	w.t.Helper()
	w.setUpstream(servers...)
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		st, err := w.status()
		if err == nil && slices.Equal(st.Upstream, addrs(servers...)) {
			return
		}
		if time.Since(start) > patience {
			w.t.Fatalf("the resolver's servers are %v, want %v: %v", st.Upstream, servers, err)
		}
	}
}

// TestBridgeReplaced: a bridge that is deleted and made again, as `network rm`
// and `create` do, is listened on again without anybody asking for it.
func TestBridgeReplaced(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	w.serve()
	run(t, w.host, "ip link del br-front")
	run(t, w.host, "ip link add br-front type bridge")
	run(t, w.host, "ip addr add 10.88.0.1/24 dev br-front")
	run(t, w.host, "ip link set br-front up")
	deadline := time.Now().Add(patience)
	for {
		got := answers(ask(w.host, "udp", "10.88.0.1", query("web", dns.TypeA)))
		if got == "10.88.0.2" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestExplain: why a name is what it is.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	w.put(ledger.Record{Key: ledger.Key{Network: "none", Container: "x", IfName: "eth0"}}) // without names
	w.setUpstream("127.0.0.53")
	w.serve()
	for name, want := range map[string]string{
		"web":                    "a container on network front has this name",
		"example.org":            "no network of the container knows the name",
		"nobody.netctl.internal": "the name belongs to the zone netctl.internal, and nobody has it",
	} {
		reply, err := w.do("lookup " + web.key.Container + " " + name)
		if err != nil || !strings.Contains(reply, want) {
			t.Errorf("%s: %s, %v; want %q", name, reply, err, want)
		}
	}
	if _, err := w.do("lookup nobody web"); err == nil {
		t.Error("a container that is not there is looked up for")
	}
	reply, err := w.do("metrics")
	generation, gerr := w.book.Generation()
	if gerr != nil {
		t.Fatal(gerr)
	}
	for _, want := range []string{fmt.Sprintf("dnsd_generation %d\n", generation), "dnsd_attachments 1\n", "dnsd_listeners 1\n"} {
		if err != nil || !strings.Contains(reply, want) {
			t.Errorf("metrics: %v, no %q in\n%s", err, want, reply)
		}
	}
}
