package forward

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/message"
)

// step is a server's time where a test has to wait for it to be over.
const step = 300 * time.Millisecond

// patience is longer than anything takes on the slowest machine.
const patience = 30 * time.Second

// quick are the times of tests that wait for them to be over.
func quick(port uint16) Options {
	return Options{Step: step, Deadline: 9 * step / 2, Penalty: 10 * patience, Port: port}
}

// atOnce are the times of tests in which nothing may wait for them: who does,
// outlasts the patience.
func atOnce(port uint16) Options {
	return Options{Step: 2 * patience, Deadline: 9 * patience, Penalty: 10 * patience, Port: port}
}

func newForwarder(t *testing.T, opt Options) *Forwarder {
	t.Helper()
	f := New(opt)
	t.Cleanup(f.Close)
	return f
}

// TestSchedule: which of several servers answers, and when.
func TestSchedule(t *testing.T) {
	good, better := address("192.0.2.1"), address("192.0.2.2")
	tests := []struct {
		name    string
		servers []behaviour // nil is silence
		want    string
		after   time.Duration // not earlier; zero: at once
	}{
		{"the first answers", []behaviour{good, better}, "192.0.2.1", 0},
		{"the first is dead", []behaviour{nil, better}, "192.0.2.2", step},
		{"two are dead", []behaviour{nil, nil, better}, "192.0.2.2", 2 * step},
		{"all are dead", []behaviour{nil, nil}, "SERVFAIL", 4 * step},
		{"the first fails", []behaviour{rcode(dns.RcodeServerFailure), better}, "192.0.2.2", 0},
		{"the first refuses", []behaviour{rcode(dns.RcodeRefused), better}, "192.0.2.2", 0},
		{"the first does not implement it", []behaviour{rcode(dns.RcodeNotImplemented), better}, "192.0.2.2", 0},
		{"the first finds it malformed", []behaviour{rcode(dns.RcodeFormatError), better}, "192.0.2.2", 0},
		{"the first is garbled", []behaviour{garbled, better}, "192.0.2.2", 0},
		{"no such name is an answer", []behaviour{rcode(dns.RcodeNameError), better}, "NXDOMAIN", 0},
		{"all fail", []behaviour{rcode(dns.RcodeServerFailure), rcode(dns.RcodeRefused)}, "SERVFAIL", 0},
		{"all refuse", []behaviour{rcode(dns.RcodeRefused), rcode(dns.RcodeRefused)}, "REFUSED", 0},
		{"one fails, one is dead", []behaviour{rcode(dns.RcodeRefused), nil}, "REFUSED", 2 * step},
		{"the first is slow", []behaviour{after(3*step/2, good), nil}, "192.0.2.1", step},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			port := freePort()
			opt := atOnce(port)
			if test.after > 0 {
				opt = quick(port)
			}
			f := newForwarder(t, opt)
			var servers []*fakeServer
			for i, do := range test.servers {
				servers = append(servers, serveFake(t, fmt.Sprintf("127.0.0.%d", 2+i), port, do))
			}
			start := time.Now()
			got := result(ask(t, f, request(t, question("example.org."), servers...)))
			if took := time.Since(start); got != test.want || took < test.after {
				t.Errorf("got %s after %s, want %s after %s", got, took, test.want, test.after)
			}
			if c, _, _ := f.Stats(); c.InFlight != 0 {
				t.Errorf("%d questions are still under way", c.InFlight)
			}
		})
	}
}

// garbled replies announce a record that is not there.
func garbled(req *dns.Msg, _ []byte) [][]byte {
	b := pack(new(dns.Msg).SetReply(req))
	b[7] = 1
	return [][]byte{b}
}

// after answers the first time with a delay, in the server's own goroutine.
func after(d time.Duration, do behaviour) behaviour {
	return func(req *dns.Msg, raw []byte) [][]byte {
		time.Sleep(d)
		return do(req, raw)
	}
}

// TestNobodyListens: the network's word is as good as a refusal.
func TestNobodyListens(t *testing.T) {
	port := freePort()
	f := newForwarder(t, atOnce(port))
	alive := serveFake(t, "127.0.0.3", port, address("192.0.2.1"))
	nobody := &fakeServer{addr: netip.MustParseAddr("127.0.0.2")}
	for _, stream := range []bool{false, true} {
		r := request(t, question("example.org."), nobody, alive)
		r.Stream = stream
		if got := result(ask(t, f, r)); got != "192.0.2.1" {
			t.Errorf("stream %v: %s", stream, got)
		}
		r = request(t, question("example.org.").SetEdns0(1232, false), nobody)
		r.Stream = stream
		m := ask(t, f, r)
		if result(m) != "SERVFAIL" || extendedError(m) != message.InfoNetworkError {
			t.Errorf("stream %v, alone: %v", stream, m)
		}
	}
}

// TestSilentStream: over TCP nothing is repeated, and the end comes all the same.
func TestSilentStream(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	dead := serveFake(t, "127.0.0.2", port, nil)
	r := request(t, question("example.org."), dead)
	r.Stream = true
	if got := result(ask(t, f, r)); got != "SERVFAIL" {
		t.Errorf("got %s", got)
	}
	if n := len(dead.requests()); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// TestNoTurnToWaitFor: over TCP, when all servers were asked, nobody waits for
// another one's turn.
func TestNoTurnToWaitFor(t *testing.T) {
	port := freePort()
	opt := quick(port)
	opt.Deadline = 10 * patience
	f := newForwarder(t, opt)
	r := request(t, question("example.org."), serveFake(t, "127.0.0.2", port, nil))
	r.Stream = true
	if !f.Ask(r, nil) {
		t.Fatal("refused")
	}
	waits := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.ends.head == nil {
			t.Fatal("the question has ended")
		}
		return f.steps.head != nil
	}
	for start := time.Now(); waits(); time.Sleep(step / 10) {
		if time.Since(start) > patience {
			t.Fatal("it waits for another server's turn, and there is none")
		}
	}
}

func extendedError(m *dns.Msg) int {
	if o := m.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if e, ok := e.(*dns.EDNS0_EDE); ok {
				return int(e.InfoCode)
			}
		}
	}
	return -1
}

// TestTransparent: what goes through as it is (RFC 5625).
func TestTransparent(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	var reply *dns.Msg
	s := serveFake(t, "127.0.0.2", port, nil)
	s.answerWith(func(req *dns.Msg, _ []byte) [][]byte {
		reply = new(dns.Msg).SetReply(req)
		reply.AuthenticatedData, reply.Authoritative, reply.Truncated = true, true, true
		reply.Answer = []dns.RR{&dns.RFC3597{Hdr: dns.RR_Header{Name: req.Question[0].Name, Rrtype: 65280, Class: 1, Ttl: 5}, Rdata: "0102ff"}}
		if req.IsEdns0() != nil {
			reply.SetEdns0(1400, true)
			reply.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("hi")}}
		}
		return [][]byte{pack(reply)}
	})
	for _, stream := range []bool{false, true} {
		m := new(dns.Msg).SetQuestion("ExAmPle.oRg.", 65280)
		m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData, m.Id = false, true, true, 4711
		m.SetEdns0(4096, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65002, Data: []byte("there")}}
		r := request(t, m, s)
		r.Stream = stream
		got := ask(t, f, r)

		sent := new(dns.Msg)
		seen := s.requests()
		if err := sent.Unpack(seen[len(seen)-1]); err != nil {
			t.Fatal(err)
		}
		want := m.Copy()
		want.Id = sent.Id
		want.IsEdns0().SetUDPSize(message.UDPSize)
		if !bytes.Equal(pack(sent), pack(want)) {
			t.Errorf("the server saw\n%v\nwant\n%v", sent, want)
		}
		s.set(func() { // reply is guarded by the server's lock
			reply.Id = m.Id
			if !bytes.Equal(pack(got), pack(reply)) {
				t.Errorf("the client got\n%v\nwant\n%v", got, reply)
			}
		})
	}
}

// TestReplyToClient: what a reply must not bring the client.
func TestReplyToClient(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	s := serveFake(t, "127.0.0.2", port, nil)

	t.Run("no OPT that was not asked for", func(t *testing.T) {
		s.answerWith(func(req *dns.Msg, raw []byte) [][]byte {
			m := new(dns.Msg).SetReply(req)
			m.SetEdns0(4096, false)
			return [][]byte{pack(m)}
		})
		if m := ask(t, f, request(t, question("a.example."), s)); m.IsEdns0() != nil {
			t.Errorf("got %v", m)
		}
	})
	t.Run("its own spelling", func(t *testing.T) {
		s.answerWith(func(req *dns.Msg, raw []byte) [][]byte {
			req.Question[0].Name = strings.ToLower(req.Question[0].Name)
			return address("192.0.2.1")(req, raw)
		})
		if m := ask(t, f, request(t, question("ExaMple.ORG."), s)); m.Question[0].Name != "ExaMple.ORG." || result(m) != "192.0.2.1" {
			t.Errorf("got %v", m)
		}
	})
	t.Run("no more bytes than it takes", func(t *testing.T) {
		s.answerWith(func(req *dns.Msg, raw []byte) [][]byte {
			m := new(dns.Msg).SetReply(req)
			for i := range 100 {
				rr, err := dns.NewRR(fmt.Sprintf("%s 1 A 192.0.2.%d", req.Question[0].Name, i))
				if err != nil {
					panic(err)
				}
				m.Answer = append(m.Answer, rr)
			}
			m.Compress = true
			return [][]byte{pack(m)}
		})
		if m := ask(t, f, request(t, question("b.example."), s)); !m.Truncated || len(m.Answer) > 0 {
			t.Errorf("over UDP: got %v", m)
		}
		r := request(t, question("b.example."), s)
		r.Stream = true
		if m := ask(t, f, r); m.Truncated || len(m.Answer) != 100 {
			t.Errorf("over TCP: got %d answers, truncated %v", len(m.Answer), m.Truncated)
		}
	})
	t.Run("64 KiB over TCP", func(t *testing.T) {
		s.answerWith(func(req *dns.Msg, raw []byte) [][]byte {
			m := new(dns.Msg).SetReply(req)
			for range 255 {
				m.Answer = append(m.Answer, &dns.TXT{
					Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: 1}, Txt: []string{strings.Repeat("x", 244)}})
			}
			return [][]byte{pack(m)}
		})
		r := request(t, question("c.example."), s)
		r.Stream = true
		if m := ask(t, f, r); len(m.Answer) != 255 {
			t.Errorf("got %d answers", len(m.Answer))
		}
	})
}

// TestForgedReplies are waited out (RFC 5452 section 9.1).
func TestForgedReplies(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	s := serveFake(t, "127.0.0.2", port, func(req *dns.Msg, raw []byte) [][]byte {
		forged := func(change func(m *dns.Msg)) []byte {
			var m dns.Msg
			if err := m.Unpack(address("203.0.113.66")(req, raw)[0]); err != nil {
				panic(err)
			}
			change(&m)
			return pack(&m)
		}
		return [][]byte{
			forged(func(m *dns.Msg) { m.Id++ }),
			forged(func(m *dns.Msg) { m.Question[0].Name = "other.example." }),
			forged(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
			forged(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			forged(func(m *dns.Msg) { m.Question = nil }),
			forged(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
			forged(func(m *dns.Msg) { m.Response = false }),
			forged(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }),
			{},
			raw[:5],
			address("192.0.2.1")(req, raw)[0],
			address("203.0.113.66")(req, raw)[0], // a second one
		}
	})
	for range 20 {
		r := request(t, question("example.org."), s)
		if got := result(ask(t, f, r)); got != "192.0.2.1" {
			t.Fatalf("got %s", got)
		}
		if n := len(r.Back.(inbox)); n != 0 {
			t.Errorf("%d more replies", n)
		}
	}
	if n := len(s.requests()); n != 20 {
		t.Errorf("the server was asked %d times, want 20", n)
	}
}

// TestPortsAndIDs: many questions use many source ports, and IDs without order.
func TestPortsAndIDs(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	s := serveFake(t, "127.0.0.2", port, address("192.0.2.1"))
	const n = 1000
	for i := range n {
		ask(t, f, request(t, question(fmt.Sprintf("n%d.example.", i)), s))
	}
	s.set(func() {
		if len(s.from) < poolSize {
			t.Errorf("%d source ports, want %d", len(s.from), poolSize)
		}
	})
	ids := map[uint16]bool{}
	successors := 0
	seen := s.requests()
	for i, raw := range seen {
		ids[message.ID(raw)] = true
		if i > 0 && message.ID(raw) == message.ID(seen[i-1])+1 {
			successors++
		}
	}
	if len(ids) < n*95/100 || successors > 5 {
		t.Errorf("%d different IDs of %d, %d of them one more than the last", len(ids), n, successors)
	}
}

// BenchmarkForward is a question's whole way, with a server that costs little.
func BenchmarkForward(b *testing.B) {
	t := &testing.T{}
	port := freePort()
	f := New(Options{Port: port})
	defer f.Close()
	s := serveFake(t, "127.0.0.2", port, nil)
	s.answerWith(func(_ *dns.Msg, raw []byte) [][]byte { raw[2] |= 0x80; s.seen = nil; return [][]byte{raw} })
	r := request(t, question("example.org."), s)
	scratch := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		f.Ask(r, scratch)
		<-r.Back.(inbox)
	}
}
