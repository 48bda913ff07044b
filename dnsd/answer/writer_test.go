package answer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/ipam/ledger"
)

var writer = Writer{TTL: 5, NegativeTTL: 7, Mail: "\x0ahostmaster\x06netctl\x08internal", Serial: 42}

// snapshot has a small network, an alias of 100 owners, and an IPv6 one.
func snapshot(t testing.TB) (*names.Snapshot, *names.Client) {
	t.Helper()
	d := ledger.Delta{Full: true, Generation: 42}
	add := func(n int, own ...string) {
		d.Changed = append(d.Changed, ledger.Record{
			Key:     ledger.Key{Network: "mynet", Container: fmt.Sprint("c", n), IfName: "eth0"},
			Created: time.Unix(int64(n), 0),
			Names:   ledger.Names{Own: own, Device: "br0"},
			Addresses: []ledger.Address{
				{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", n)), Gateway: netip.MustParseAddr("10.0.0.1")},
				{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00::%x/64", n)), Gateway: netip.MustParseAddr("fd00::1")},
			},
		})
	}
	add(2, "web", "a.b", strings.Repeat("x", 63)+"."+strings.Repeat("y", 63)+"."+strings.Repeat("z", 63))
	for n := range 100 {
		add(10+n, fmt.Sprint("n", n), "all")
	}
	s := names.NewTable(names.MustParse("netctl.internal")).Apply(d)
	c := s.Client(names.Listener{Device: "br0", Gateway: netip.MustParseAddr("10.0.0.1")}, netip.MustParseAddr("10.0.0.2"))
	if c == nil {
		t.Fatal("no client")
	}
	return s, c
}

// ask looks a message's question up.
func ask(t testing.TB, msg []byte, limit int) Question {
	t.Helper()
	s, c := snapshot(t)
	q := new(message.Query)
	if v := q.Parse(msg); v != message.Valid {
		t.Fatalf("verdict %d", v)
	}
	return Question{Query: q, Msg: msg, Answer: s.Lookup(c, q.Name()), Limit: limit, Info: message.NoInfo}
}

func TestReplies(t *testing.T) {
	const soa = "SOA netctl.internal. 7 gateway.mynet.netctl.internal. hostmaster.netctl.internal. 42 3600 600 86400 7"
	zoneSOA := strings.Replace(soa, "SOA netctl", "SOA mynet.netctl", 1)
	tests := []struct {
		name string
		kind uint16
		want string
	}{
		{"web.", dns.TypeA, "NOERROR; A web. 5 10.0.0.2"},
		{"wEB.", dns.TypeAAAA, "NOERROR; AAAA wEB. 5 fd00::2"},
		{"web.netctl.internal.", dns.TypeMX, "NOERROR; ; " + soa},
		{"web.mynet.netctl.internal.", dns.TypeTXT, "NOERROR; ; " + zoneSOA},
		{"web.mynet.netctl.internal.", dns.TypeHTTPS, "NOERROR; ; " + zoneSOA},
		{"web.mynet.netctl.internal.", 65535, "NOERROR; ; " + zoneSOA},
		{"web.mynet.netctl.internal.", dns.TypeANY, "NOERROR; A web.mynet.netctl.internal. 5 10.0.0.2"},
		{"nobody.netctl.internal.", dns.TypeA, "NXDOMAIN; ; " + soa},
		{"nobody.netctl.internal.", dns.TypeMX, "NXDOMAIN; ; " + soa},
		{"b.netctl.internal.", dns.TypeA, "NOERROR; ; " + soa},
		{"netctl.internal.", dns.TypeSOA, "NOERROR; " + strings.Replace(soa, " 7 gate", " 5 gate", 1)},
		{"netctl.internal.", dns.TypeNS, "NOERROR; NS netctl.internal. 5 gateway.mynet.netctl.internal."},
		{"netctl.internal.", dns.TypeANY, "NOERROR; " + strings.Replace(soa, " 7 gate", " 5 gate", 1)},
		{"netctl.internal.", dns.TypeA, "NOERROR; ; " + soa},
		{"2.0.0.10.in-addr.arpa.", dns.TypePTR, "NOERROR; PTR 2.0.0.10.in-addr.arpa. 5 web.mynet.netctl.internal."},
		{"2.0.0.10.in-addr.arpa.", dns.TypeANY, "NOERROR; PTR 2.0.0.10.in-addr.arpa. 5 web.mynet.netctl.internal."},
		{"2.0.0.10.in-addr.arpa.", dns.TypeA, "NOERROR; ; " + strings.Replace(soa, "SOA netctl.internal.", "SOA 0.0.10.in-addr.arpa.", 1)},
		{"9.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN; ; " + strings.Replace(soa, "SOA netctl.internal.", "SOA 0.0.10.in-addr.arpa.", 1)},
		{"localhost.", dns.TypeA, "NOERROR; A localhost. 5 127.0.0.1"},
		{"x.invalid.", dns.TypeA, "NXDOMAIN; ; " + strings.Replace(soa, "SOA netctl.internal.", "SOA invalid.", 1)},
	}
	for _, test := range tests {
		t.Run(test.name+" "+dns.Type(test.kind).String(), func(t *testing.T) {
			req := new(dns.Msg).SetQuestion(test.name, test.kind)
			msg, err := req.Pack()
			if err != nil {
				t.Fatal(err)
			}
			out, err := writer.Append(nil, ask(t, msg, 512))
			if err != nil {
				t.Fatal(err)
			}
			m := unpack(t, out)
			if got := replyText(m); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !m.Authoritative || !m.RecursionAvailable || !m.Response || m.AuthenticatedData || m.Id != req.Id || m.Question[0] != req.Question[0] {
				t.Errorf("header: %v", m)
			}
		})
	}
}

// replyText is a reply in a line: rcode, answers, authority.
func replyText(m *dns.Msg) string {
	section := func(rrs []dns.RR) string {
		var parts []string
		for _, rr := range rrs {
			h := rr.Header()
			data := strings.TrimPrefix(rr.String(), h.String())
			parts = append(parts, strings.Join([]string{dns.TypeToString[h.Rrtype], h.Name, fmt.Sprint(h.Ttl), data}, " "))
		}
		return strings.Join(parts, ", ")
	}
	out := dns.RcodeToString[m.Rcode] + "; " + section(m.Answer)
	if len(m.Ns) > 0 {
		out += "; " + section(m.Ns)
	}
	if m.Truncated {
		out += "; TC"
	}
	return out
}

func unpack(t testing.TB, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("unpack %x: %v", b, err)
	}
	return m
}

// TestTooMany: what does not fit is left out, and TC says so.
func TestTooMany(t *testing.T) {
	for _, edns := range []bool{false, true} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeANY} {
			req := new(dns.Msg).SetQuestion("all.", kind)
			if edns {
				req.SetEdns0(4096, true)
			}
			msg, err := req.Pack()
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{512, 1232, 65535} {
				out, err := writer.Append(nil, ask(t, msg, limit))
				if err != nil {
					t.Fatal(err)
				}
				m := unpack(t, out)
				room := limit - len(out)
				switch {
				case len(out) > limit:
					t.Errorf("%d bytes, limit %d", len(out), limit)
				case m.Truncated != (len(m.Answer) < 100):
					t.Errorf("%d answers, truncated %v", len(m.Answer), m.Truncated)
				case m.Truncated && room >= 28:
					t.Errorf("limit %d: %d bytes are left, and answers are missing", limit, room)
				case (m.IsEdns0() != nil) != edns:
					t.Errorf("EDNS asked %v, got %v", edns, m.IsEdns0())
				}
			}
		}
	}
}

// TestRotation: every owner comes first equally often, over 10,000 questions.
func TestRotation(t *testing.T) {
	s, c := snapshot(t)
	msg, err := new(dns.Msg).SetQuestion("all.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(message.Query)
	q.Parse(msg)
	first := map[string]int{}
	for range 10_000 {
		out, err := writer.Append(nil, Question{Query: q, Msg: msg, Answer: s.Lookup(c, q.Name()), Limit: 512, Info: message.NoInfo})
		if err != nil {
			t.Fatal(err)
		}
		first[unpack(t, out).Answer[0].(*dns.A).A.String()]++
	}
	for a, n := range first {
		if n < 95 || n > 105 {
			t.Errorf("%s came first %d times, want 100", a, n)
		}
	}
	if len(first) != 100 {
		t.Errorf("%d addresses came first, want 100", len(first))
	}
}

// FuzzWriters compares the two writers on any question to any name.
func FuzzWriters(f *testing.F) {
	for i, name := range []string{"web.", "all.", "nobody.netctl.internal.", "b.netctl.internal.", "2.0.0.10.in-addr.arpa.", "localhost.", "x.onion.", "WEB.mynet.netctl.internal."} {
		m := new(dns.Msg).SetQuestion(name, []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX}[i%3])
		if i%2 == 0 {
			m.SetEdns0(uint16(400*i), i%4 == 0)
		}
		msg, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg, uint16(512), byte(0), i%3 == 0)
	}
	s, c := snapshot(f)
	f.Fuzz(func(t *testing.T, msg []byte, limit uint16, turn byte, prohibited bool) {
		var query message.Query
		if query.Parse(msg) != message.Valid || query.Class != 1 {
			return
		}
		q := Question{Query: &query, Msg: msg, Answer: s.Lookup(c, query.Name()), Limit: int(max(limit, 512)), Info: message.NoInfo}
		if q.Kind == names.Foreign {
			q.Kind = names.Missing
		}
		if prohibited {
			q.Info = message.InfoProhibited
		}
		first := 0
		if f, ok := q.family(); ok && q.Set != nil && len(q.Set.Addrs(f)) > 0 {
			first = int(turn) % len(q.Set.Addrs(f))
		}
		fast, ok := writer.appendFast(nil, q, first)
		if !ok {
			return
		}
		slow, err := writer.appendLibrary(nil, q, first)
		if err != nil {
			t.Fatalf("the library: %v", err)
		}
		if len(fast) > q.Limit || len(slow) > q.Limit {
			t.Fatalf("%d and %d bytes, limit %d", len(fast), len(slow), q.Limit)
		}
		a, b := unpack(t, fast), unpack(t, slow)
		// The fast writer spells the names of an SOA record out, and so may
		// have to leave it away where the library just gets it in.
		if len(a.Ns) == 0 && len(slow) > q.Limit-64 {
			b.Ns = nil
		}
		if a.String() != b.String() {
			t.Fatalf("fast:\n%v\nlibrary:\n%v", a, b)
		}
	})
}

func BenchmarkWriters(b *testing.B) {
	m := new(dns.Msg).SetQuestion("web.mynet.netctl.internal.", dns.TypeA)
	m.SetEdns0(1232, false)
	msg, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	q := ask(b, msg, 1232)
	buf := make([]byte, 0, 2048)
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			writer.appendFast(buf, q, 0)
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			writer.appendLibrary(buf, q, 0)
		}
	})
}
