package names

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
)

const base Name = "\x06netctl\x08internal"

// rec writes a record as "network/container addr[,addr...] [gw] names...".
type rec struct {
	net, ctr  string
	addrs     string // "10.1.0.2/24 via 10.1.0.1, fd00:1::2/64 via fd00:1::1"
	own       string
	hostname  string
	internal  bool
	servers   []netip.Addr
	age       int // seconds; older ones are smaller
	dev       string
	noService bool
}

func (r rec) record() ledger.Record {
	out := ledger.Record{
		Key:     ledger.Key{Network: r.net, Container: r.ctr, IfName: "eth0"},
		Created: time.Unix(1000+int64(r.age), 0),
		Names: ledger.Names{
			Own: strings.Fields(r.own), Hostname: r.hostname, Internal: r.internal,
			Servers: r.servers, Device: "br-" + r.net,
		},
	}
	if r.dev != "" {
		out.Names.Device = r.dev
	}
	if r.noService {
		out.Names = ledger.Names{}
	}
	for part := range strings.SplitSeq(r.addrs, ",") {
		p, gw, _ := strings.Cut(strings.TrimSpace(part), " via ")
		a := ledger.Address{Prefix: netip.MustParsePrefix(p)}
		if gw != "" {
			a.Gateway = netip.MustParseAddr(gw)
		}
		out.Addresses = append(out.Addresses, a)
	}
	return out
}

func snapshotOf(recs ...rec) *Snapshot {
	d := ledger.Delta{Generation: 1, Full: true}
	for _, r := range recs {
		d.Changed = append(d.Changed, r.record())
	}
	return NewTable(base).Apply(d)
}

// world is two open networks and an internal one. "app" is on front, then back.
func world() []rec {
	return []rec{
		{net: "front", ctr: "c-web", addrs: "10.1.0.2/24 via 10.1.0.1, fd00:1::2/64 via fd00:1::1", own: "web www aaaaaaaaaaaa", hostname: "webhost", age: 1},
		{net: "front", ctr: "c-app", addrs: "10.1.0.3/24 via 10.1.0.1", own: "app www", hostname: "web", age: 2},
		{net: "back", ctr: "c-app", addrs: "10.2.0.3/20 via 10.2.0.1", own: "app db-client", age: 3},
		{net: "back", ctr: "c-db", addrs: "10.2.0.4/20 via 10.2.0.1", own: "db web a.b", hostname: "db", age: 4},
		{net: "vault", ctr: "c-safe", addrs: "10.3.0.2/25 via 10.3.0.1", own: "safe host gateway", internal: true, age: 5},
		{net: "vault", ctr: "c-key", addrs: "10.3.0.3/25 via 10.3.0.1", own: "key", internal: true, age: 6},
		{net: "my.net", ctr: "c-dot", addrs: "10.4.0.2/24 via 10.4.0.1", own: "dot my.net net", age: 7},
		{net: "net", ctr: "c-dot", addrs: "10.5.0.2/24 via 10.5.0.1", own: "dot x", age: 8},
		{net: "lan", ctr: "c-lan", addrs: "192.168.7.9/24 via 192.168.7.1", own: "lan", age: 9, noService: true},
	}
}

func describe(a Answer, name []byte) string {
	var parts []string
	switch a.Kind {
	case Foreign:
		return "foreign"
	case Missing:
		parts = append(parts, "missing")
	case Exists:
		parts = append(parts, "exists")
	}
	if a.Set != nil {
		for _, addr := range slices.Concat(a.Set.Addrs(V4), a.Set.Addrs(V6)) {
			parts = append(parts, addr.String())
		}
	}
	if a.Pointer != "" {
		parts = append(parts, "->"+a.Pointer.String())
	}
	if a.Apex {
		parts = append(parts, "apex")
	}
	return strings.Join(append(parts, "zone="+Name(name[a.Zone:]).String()), " ")
}

func TestLookup(t *testing.T) {
	s := snapshotOf(world()...)
	clients := map[string]*Client{
		"web":  s.Client(Listener{Device: "br-front", Gateway: netip.MustParseAddr("10.1.0.1")}, netip.MustParseAddr("10.1.0.2")),
		"web6": s.Client(Listener{Device: "br-front", Gateway: netip.MustParseAddr("fd00:1::1")}, netip.MustParseAddr("fd00:1::2")),
		"app":  s.Client(Listener{Device: "br-back", Gateway: netip.MustParseAddr("10.2.0.1")}, netip.MustParseAddr("10.2.0.3")),
		"db":   s.Client(Listener{Device: "br-back", Gateway: netip.MustParseAddr("10.2.0.1")}, netip.MustParseAddr("10.2.0.4")),
		"key":  s.Client(Listener{Device: "br-vault", Gateway: netip.MustParseAddr("10.3.0.1")}, netip.MustParseAddr("10.3.0.3")),
		"dot":  s.Client(Listener{Device: "br-net", Gateway: netip.MustParseAddr("10.5.0.1")}, netip.MustParseAddr("10.5.0.2")),
		"host": s.Host(Listener{Device: "br-back", Gateway: netip.MustParseAddr("10.2.0.1")}),
	}
	tests := []struct{ client, name, want string }{
		// The four forms.
		{"web", "web", "exists 10.1.0.2 fd00:1::2 zone=web"},
		{"web6", "web", "exists 10.1.0.2 fd00:1::2 zone=web"},
		{"web", "web.front", "exists 10.1.0.2 fd00:1::2 zone=web.front"},
		{"web", "web.front.netctl.internal", "exists 10.1.0.2 fd00:1::2 zone=front.netctl.internal"},
		{"web", "web.netctl.internal", "exists 10.1.0.2 fd00:1::2 zone=netctl.internal"},
		{"web", "aaaaaaaaaaaa", "exists 10.1.0.2 fd00:1::2 zone=aaaaaaaaaaaa"},
		// Several owners of an alias, oldest first.
		{"web", "www", "exists 10.1.0.2 10.1.0.3 fd00:1::2 zone=www"},
		// A hostname does not take a name that somebody owns; alone it counts.
		{"app", "web.front", "exists 10.1.0.2 fd00:1::2 zone=web.front"},
		{"web", "webhost", "exists 10.1.0.2 fd00:1::2 zone=webhost"},
		// Order of attachment, no union.
		{"app", "web", "exists 10.1.0.2 fd00:1::2 zone=web"},
		{"app", "web.back", "exists 10.2.0.4 zone=web.back"},
		{"app", "app", "exists 10.1.0.3 zone=app"},
		{"app", "app.back.netctl.internal", "exists 10.2.0.3 zone=back.netctl.internal"},
		{"app", "db", "exists 10.2.0.4 zone=db"},
		// Networks of others.
		{"web", "db", "foreign"},
		{"web", "db.back", "foreign"},
		{"web", "db.netctl.internal", "missing zone=netctl.internal"},
		{"web", "db.back.netctl.internal", "missing zone=netctl.internal"},
		{"web", "back.netctl.internal", "missing zone=netctl.internal"},
		{"db", "web", "exists 10.2.0.4 zone=web"},
		// No label boundary, no match.
		{"web", "xnetctl.internal", "foreign"},
		{"web", "webfront", "foreign"},
		{"web", "web.xfront", "foreign"},
		// Names with dots, and what is between.
		{"db", "a.b", "exists 10.2.0.4 zone=a.b"},
		{"db", "a.b.netctl.internal", "exists 10.2.0.4 zone=netctl.internal"},
		{"db", "a.b.back.netctl.internal", "exists 10.2.0.4 zone=back.netctl.internal"},
		{"db", "b.netctl.internal", "exists zone=netctl.internal"},
		{"db", "b.back.netctl.internal", "exists zone=back.netctl.internal"},
		{"db", "b", "foreign"},
		{"db", "b.back", "foreign"},
		{"db", "x.b.netctl.internal", "missing zone=netctl.internal"},
		{"db", "x.a.b", "foreign"},
		// Network names with dots; a container named as its network.
		{"dot", "my.net", "exists 10.4.0.2 zone=my.net"},
		{"dot", "my.net.netctl.internal", "exists 10.4.0.2 apex zone=my.net.netctl.internal"},
		{"dot", "net.netctl.internal", "exists 10.4.0.2 apex zone=net.netctl.internal"},
		{"dot", "dot.my.net", "exists 10.4.0.2 zone=dot.my.net"},
		{"dot", "dot.net", "exists 10.5.0.2 zone=dot.net"},
		{"dot", "x.my.net", "foreign"},
		{"dot", "nobody.my.net.netctl.internal", "missing zone=my.net.netctl.internal"},
		// Apexes.
		{"web", "netctl.internal", "exists apex zone=netctl.internal"},
		{"web", "front.netctl.internal", "exists apex zone=front.netctl.internal"},
		{"web", "internal", "foreign"},
		// The host and the gateway.
		{"web", "host.docker.internal", "exists 10.1.0.1 fd00:1::1 zone=docker.internal"},
		{"app", "host.containers.internal", "exists 10.1.0.1 zone=containers.internal"},
		{"app", "host.netctl.internal", "exists 10.1.0.1 zone=netctl.internal"},
		{"key", "host.netctl.internal", "missing zone=netctl.internal"},
		{"key", "host.docker.internal", "missing zone=docker.internal"},
		{"web", "gateway.front.netctl.internal", "exists 10.1.0.1 fd00:1::1 zone=front.netctl.internal"},
		{"web", "gateway.netctl.internal", "missing zone=netctl.internal"},
		{"web", "gateway.back.netctl.internal", "missing zone=netctl.internal"},
		{"web", "gateway.front", "foreign"},
		// Containers with reserved names.
		{"key", "host.vault.netctl.internal", "exists 10.3.0.2 zone=vault.netctl.internal"},
		{"key", "gateway.vault.netctl.internal", "exists 10.3.0.2 zone=vault.netctl.internal"},
		{"key", "host", "foreign"},
		{"key", "host.vault", "foreign"},
		{"key", "gateway.netctl.internal", "exists zone=netctl.internal"},
		// Reverse.
		{"web", "2.0.1.10.in-addr.arpa", "exists ->web.front.netctl.internal zone=0.1.10.in-addr.arpa"},
		{"web", "1.0.1.10.in-addr.arpa", "exists ->gateway.front.netctl.internal zone=0.1.10.in-addr.arpa"},
		{"web", "9.0.1.10.in-addr.arpa", "missing zone=0.1.10.in-addr.arpa"},
		{"web", "4.0.2.10.in-addr.arpa", "missing zone=0.2.10.in-addr.arpa"},
		{"db", "4.0.2.10.in-addr.arpa", "exists ->db.back.netctl.internal zone=0.2.10.in-addr.arpa"},
		{"db", "4.15.2.10.in-addr.arpa", "missing zone=15.2.10.in-addr.arpa"},
		{"db", "4.16.2.10.in-addr.arpa", "foreign"},
		{"db", "2.10.in-addr.arpa", "foreign"},
		{"db", "0.2.10.in-addr.arpa", "exists zone=0.2.10.in-addr.arpa"},
		{"db", "04.0.2.10.in-addr.arpa", "missing zone=0.2.10.in-addr.arpa"},
		{"db", "x.4.0.2.10.in-addr.arpa", "missing zone=0.2.10.in-addr.arpa"},
		{"db", "lb._dns-sd._udp.0.2.10.in-addr.arpa", "missing zone=0.2.10.in-addr.arpa"},
		{"key", "3.0.3.10.in-addr.arpa", "exists ->key.vault.netctl.internal zone=0.3.10.in-addr.arpa"},
		{"key", "200.0.3.10.in-addr.arpa", "foreign"},
		{"web", "9.7.168.192.in-addr.arpa", "foreign"}, // not served, so not ours
		{"web", "in-addr.arpa", "foreign"},
		{"web", reverse6("fd00:1::2"), "exists ->web.front.netctl.internal zone=0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"},
		{"web", reverse6("fd00:1::3"), "missing zone=0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"},
		{"web", reverse6("fd00:9::2"), "foreign"},
		// The host sees the networks of the listener.
		{"host", "db", "exists 10.2.0.4 zone=db"},
		{"host", "app", "exists 10.2.0.3 zone=app"},
		{"host", "app.front", "foreign"},
		{"host", "host.netctl.internal", "exists 10.2.0.1 zone=netctl.internal"},
		// Names that never leave.
		{"web", "localhost", "exists 127.0.0.1 ::1 zone=localhost"},
		{"web", "a.localhost", "exists 127.0.0.1 ::1 zone=localhost"},
		{"web", "a.invalid", "missing zone=invalid"},
		{"web", "x.onion", "missing zone=onion"},
		{"web", "a.b.alt", "missing zone=alt"},
		{"web", "example.org", "foreign"},
		{"web", "printer.local", "foreign"},
		{"web", ".", "foreign"},
	}
	for _, test := range tests {
		t.Run(test.client+" asks "+test.name, func(t *testing.T) {
			name := []byte(MustParse(test.name))
			c := clients[test.client]
			if c == nil {
				t.Fatalf("no client %s", test.client)
			}
			if got := describe(s.Lookup(c, name), name); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func reverse6(addr string) string {
	b := netip.MustParseAddr(addr).As16()
	var out strings.Builder
	for i := 15; i >= 0; i-- {
		fmt.Fprintf(&out, "%x.%x.", b[i]&15, b[i]>>4)
	}
	return out.String() + "ip6.arpa"
}

// TestWhoAsks: the listener and the source address together make the client.
func TestWhoAsks(t *testing.T) {
	s := snapshotOf(world()...)
	tests := []struct{ device, gateway, source, want string }{
		{"br-front", "10.1.0.1", "10.1.0.2", "c-web"},
		{"br-front", "10.1.0.1", "10.1.0.3", "c-app"},
		{"br-back", "10.2.0.1", "10.2.0.3", "c-app"},
		{"br-front", "10.1.0.1", "10.2.0.3", ""}, // app's address on another network
		{"br-front", "10.1.0.1", "10.1.0.1", ""}, // the host
		{"br-back", "10.1.0.1", "10.1.0.2", ""},  // no such listener
		{"br-front", "10.1.0.1", "192.0.2.1", ""},
	}
	for _, test := range tests {
		got := ""
		if c := s.Client(Listener{Device: test.device, Gateway: netip.MustParseAddr(test.gateway)}, netip.MustParseAddr(test.source)); c != nil {
			got = c.Container
		}
		if got != test.want {
			t.Errorf("%s on %s asking %s: got %q, want %q", test.source, test.device, test.gateway, got, test.want)
		}
	}
}

func TestUpstreamFacts(t *testing.T) {
	mine, network := netip.MustParseAddr("10.3.0.9"), netip.MustParseAddr("192.0.2.53")
	s := snapshotOf(
		rec{net: "vault", ctr: "a", addrs: "10.3.0.2/24 via 10.3.0.1", own: "a", internal: true},
		rec{net: "front", ctr: "b", addrs: "10.1.0.2/24 via 10.1.0.1", own: "b", age: 1},
		rec{net: "vault", ctr: "b", addrs: "10.3.0.3/24 via 10.3.0.1", own: "b", internal: true, servers: []netip.Addr{mine, network}, age: 2},
	)
	a, b := s.Container("a"), s.Container("b")
	if !a.Internal || b.Internal {
		t.Errorf("internal: a %v, b %v; want true, false", a.Internal, b.Internal)
	}
	if !slices.Equal(b.Servers, []netip.Addr{mine, network}) || a.Servers != nil {
		t.Errorf("servers: a %v, b %v", a.Servers, b.Servers)
	}
	if !a.Reaches(mine) || a.Reaches(network) {
		t.Error("a reaches its own subnet only")
	}
	if !s.IsGateway(netip.MustParseAddr("10.1.0.1")) || s.IsGateway(netip.MustParseAddr("10.1.0.2")) {
		t.Error("10.1.0.1 is a gateway and 10.1.0.2 is not")
	}
}

func TestTurnIsFair(t *testing.T) {
	s := newSet([]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")})
	var first [2][3]int
	for range 9000 { // as stubs do: A and AAAA in turn
		first[V4][s.Turn(V4)]++
		first[V6][s.Turn(V6)]++
	}
	if first[V4] != [3]int{3000, 3000, 3000} || first[V6] != [3]int{4500, 4500, 0} {
		t.Errorf("how often each came first: %v", first)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	s := snapshotOf(world()...)
	at, src := Listener{Device: "br-front", Gateway: netip.MustParseAddr("10.1.0.1")}, netip.MustParseAddr("10.1.0.3")
	for _, name := range []string{"web", "web.front", "web.netctl.internal", "example.org", "nobody.netctl.internal", "2.0.1.10.in-addr.arpa"} {
		wire := []byte(MustParse(name))
		want := 0.0
		if strings.HasSuffix(name, "arpa") {
			want = 1 // the name that is pointed at
		}
		if got := testing.AllocsPerRun(100, func() { s.Lookup(s.Client(at, src), wire) }); got > want {
			t.Errorf("%s: %v allocations, want at most %v", name, got, want)
		}
	}
}
