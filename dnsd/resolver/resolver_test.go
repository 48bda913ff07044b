package resolver

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/answer"
	"github.com/netctl/netctl/dnsd/forward"
	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/ipam/ledger"
)

// upstreams are the host's servers in the tests.
type upstreams struct {
	servers []netip.Addr
	local   bool
}

func (u upstreams) Servers() []netip.Addr   { return u.servers }
func (u upstreams) ServesLocal([]byte) bool { return u.local }

// asked notes what is forwarded, and is full if told so.
type asked struct {
	servers []netip.Addr
	full    bool
}

func (a *asked) Ask(r forward.Request, _ []byte) bool {
	a.servers = r.Servers
	return !a.full
}

type host struct{}

func (host) Contains(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.10") }

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func record(network, gateway, addr, name string, internal bool, servers ...string) ledger.Record {
	return ledger.Record{
		Key:       ledger.Key{Network: network, Container: "id-" + name, IfName: "eth0"},
		Created:   time.Unix(1, 0),
		Names:     ledger.Names{Own: []string{name}, Device: "br-" + network, Internal: internal, Servers: addrs(servers...)},
		Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix(addr + "/24"), Gateway: netip.MustParseAddr(gateway)}},
	}
}

// TestDecisions: who may ask what, and where it goes.
func TestDecisions(t *testing.T) {
	snapshot := names.NewTable(names.MustParse("netctl.internal")).Apply(ledger.Delta{Generation: 1, Full: true, Changed: []ledger.Record{
		record("front", "10.1.0.1", "10.1.0.2", "web", false),
		record("front", "10.1.0.1", "10.1.0.3", "own", false, "198.51.100.1", "10.1.0.1"),
		record("vault", "10.3.0.1", "10.3.0.2", "safe", true),
		record("vault", "10.3.0.1", "10.3.0.3", "served", true, "198.51.100.1", "10.3.0.53"),
	}})
	front := names.Listener{Device: "br-front", Gateway: netip.MustParseAddr("10.1.0.1")}
	vault := names.Listener{Device: "br-vault", Gateway: netip.MustParseAddr("10.3.0.1")}
	host4 := upstreams{servers: addrs("192.0.2.53", "10.1.0.1", "192.0.2.54")}
	tests := []struct {
		name     string
		at       names.Listener
		from     string
		ask      string
		upstream upstreams
		full     bool
		want     string // rcode, "" for none: forwarded
		info     int    // of the extended error, -1 for none
		servers  []netip.Addr
	}{
		{"a name of ours", front, "10.1.0.2", "own", host4, false, "NOERROR", -1, nil},
		{"forwarded, but never to ourselves", front, "10.1.0.2", "example.org", host4, false, "", -1, addrs("192.0.2.53", "192.0.2.54")},
		{"the container's own servers", front, "10.1.0.3", "example.org", host4, false, "", -1, addrs("198.51.100.1")},
		{"no server at all", front, "10.1.0.2", "example.org", upstreams{}, false, "SERVFAIL", message.InfoNoReachable, nil},
		{"no server but ourselves", front, "10.1.0.2", "example.org", upstreams{servers: addrs("10.1.0.1", "10.3.0.1")}, false, "SERVFAIL", message.InfoNoReachable, nil},
		{"too many questions", front, "10.1.0.2", "example.org", host4, true, "REFUSED", message.InfoOther, addrs("192.0.2.53", "192.0.2.54")},
		{"the host at its gateway", front, "10.1.0.1", "web", host4, false, "NOERROR", -1, nil},
		{"the host at another address", front, "192.0.2.10", "web", host4, false, "NOERROR", -1, nil},
		{"the host forwards", front, "192.0.2.10", "example.org", host4, false, "", -1, addrs("192.0.2.53", "192.0.2.54")},
		{"a stranger", front, "10.1.0.99", "web", host4, false, "REFUSED", message.InfoProhibited, nil},
		{"a container of another network", front, "10.3.0.2", "web", host4, false, "REFUSED", message.InfoProhibited, nil},
		{"internal", vault, "10.3.0.2", "example.org", host4, false, "NXDOMAIN", message.InfoProhibited, nil},
		{"internal, a name of ours", vault, "10.3.0.2", "served", host4, false, "NOERROR", -1, nil},
		{"internal with a server inside", vault, "10.3.0.3", "example.org", host4, false, "", -1, addrs("10.3.0.53")},
		{"mDNS names", front, "10.1.0.2", "printer.local", host4, false, "NXDOMAIN", -1, nil},
		{"mDNS names that somebody serves", front, "10.1.0.2", "dc.corp.local", upstreams{servers: addrs("192.0.2.53"), local: true}, false, "", -1, addrs("192.0.2.53")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &asked{full: test.full}
			r := &Resolver{Writer: answer.Writer{}, Upstream: test.upstream, Host: host{}, Forward: f, Log: slog.New(slog.DiscardHandler)}
			r.Publish(snapshot)
			msg, err := new(dns.Msg).SetQuestion(dns.Fqdn(test.ask), dns.TypeA).SetEdns0(1232, false).Pack()
			if err != nil {
				t.Fatal(err)
			}
			peer := Peer{Listener: test.at, Addr: netip.AddrPortFrom(netip.MustParseAddr(test.from), 4000)}
			reply, later := r.Handle(msg, peer, NewScratch())
			if (reply == nil) != later || later != (test.want == "") {
				t.Fatalf("reply %x, later %v", reply, later)
			}
			if !slices.Equal(f.servers, test.servers) {
				t.Errorf("servers %v, want %v", f.servers, test.servers)
			}
			if !later {
				checkReply(t, reply, test.want, test.info)
			}
		})
	}
}

func checkReply(t *testing.T, reply []byte, rcode string, info int) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatal(err)
	}
	got := -1
	for _, o := range m.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			got = int(e.InfoCode)
		}
	}
	if dns.RcodeToString[m.Rcode] != rcode || got != info {
		t.Errorf("%s with extended error %d, want %s with %d", dns.RcodeToString[m.Rcode], got, rcode, info)
	}
}

// TestQualified: names of one label stay, if that is wanted.
func TestQualified(t *testing.T) {
	snapshot := names.NewTable(names.MustParse("netctl.internal")).Apply(ledger.Delta{Full: true, Changed: []ledger.Record{record("front", "10.1.0.1", "10.1.0.2", "web", false)}})
	r := &Resolver{Upstream: upstreams{servers: addrs("192.0.2.53")}, Qualified: true}
	r.Publish(snapshot)
	c := snapshot.Container("id-web")
	for name, want := range map[string]names.Kind{"intranet": names.Missing, "intranet.example": names.Foreign, "web": names.Exists} {
		if got := r.Explain(c, names.MustParse(name)).Answer.Kind; got != want {
			t.Errorf("%s: kind %d, want %d", name, got, want)
		}
	}
}

// TestHandleDoesNotAllocate: an ordinary question costs no garbage.
func TestHandleDoesNotAllocate(t *testing.T) {
	snapshot := names.NewTable(names.MustParse("netctl.internal")).Apply(ledger.Delta{Full: true, Changed: []ledger.Record{record("front", "10.1.0.1", "10.1.0.2", "web", false)}})
	r := &Resolver{Writer: answer.Writer{Mail: "\x01x"}, Upstream: upstreams{}, Host: host{}, Forward: &asked{}, Log: slog.New(slog.DiscardHandler)}
	r.Publish(snapshot)
	peer := Peer{Listener: names.Listener{Device: "br-front", Gateway: netip.MustParseAddr("10.1.0.1")}, Addr: netip.MustParseAddrPort("10.1.0.2:4000")}
	scratch := NewScratch()
	for name, kind := range map[string]uint16{"web.": dns.TypeA, "web.netctl.internal.": dns.TypeAAAA, "nobody.netctl.internal.": dns.TypeA} {
		msg, err := new(dns.Msg).SetQuestion(name, kind).SetEdns0(1232, false).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { r.Handle(msg, peer, scratch) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
