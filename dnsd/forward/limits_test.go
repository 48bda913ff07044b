package forward

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestSharing: one exchange for the same question, and separate ones for
// questions that differ in anything.
func TestSharing(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	gate := make(chan struct{})
	s := serveFake(t, "127.0.0.2", port, nil)
	s.answerWith(func(req *dns.Msg, raw []byte) [][]byte { <-gate; return address("192.0.2.1")(req, raw) })
	var same []Request
	for i := range 10 {
		m := question("example.org.")
		m.Id = uint16(100 + i)
		r := request(t, m, s)
		same = append(same, r)
		if !f.Ask(r, nil) {
			t.Fatal("refused")
		}
	}
	var other []Request
	for _, m := range []*dns.Msg{
		question("Example.org."),
		question("example.org.").SetEdns0(1232, false),
		question("example.org.").SetEdns0(1232, true),
		new(dns.Msg).SetQuestion("example.org.", dns.TypeAAAA),
	} {
		r := request(t, m, s)
		other = append(other, r)
		if !f.Ask(r, nil) {
			t.Fatal("refused")
		}
	}
	close(gate)
	for i, r := range same {
		if m := await(t, r); result(m) != "192.0.2.1" || m.Id != uint16(100+i) {
			t.Errorf("question %d: %v", i, m)
		}
	}
	for _, r := range other {
		await(t, r)
	}
	if c, _, _ := f.Stats(); c.Exchanges != 5 || c.Shared != 9 || c.InFlight != 0 {
		t.Errorf("%+v, want 5 exchanges and 9 shared", c)
	}
}

// TestLimits: over them, refusal at once; below them again, service.
func TestLimits(t *testing.T) {
	port := freePort()
	opt := quick(port)
	opt.PerClient, opt.Total = 3, 5
	f := newForwarder(t, opt)
	dead := serveFake(t, "127.0.0.2", port, nil)
	try := func(client string, n int) bool {
		r := request(t, question(fmt.Sprintf("n%d.example.", n)), dead)
		r.Client = netip.MustParseAddrPort(client + ":4000")
		return f.Ask(r, nil)
	}
	var got []bool
	for i := range 4 {
		got = append(got, try("10.0.0.2", i))
	}
	for i := range 3 {
		got = append(got, try("10.0.0.3", i))
	}
	want := []bool{true, true, true, false, true, true, false}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("accepted %v, want %v", got, want)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, _, _ := f.Stats(); c.InFlight == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("questions never end")
		}
	}
	if !try("10.0.0.2", 9) {
		t.Error("refused after all has ended")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.clients) != 1 {
		t.Errorf("%d clients are remembered, want 1", len(f.clients))
	}
}

// TestPenalty: a server that did not answer twice is asked last, for a while.
func TestPenalty(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	dead := serveFake(t, "127.0.0.2", port, nil)
	alive := serveFake(t, "127.0.0.3", port, address("192.0.2.1"))
	for i := range 4 {
		if i == 2 { // from here on, waiting for the dead one takes forever
			f.mu.Lock()
			f.opt.Step, f.opt.Deadline = 2*patience, 9*patience
			f.mu.Unlock()
		}
		ask(t, f, request(t, question(fmt.Sprintf("n%d.example.", i)), dead, alive))
	}
	if n := len(dead.requests()); n != 2 {
		t.Errorf("the dead server was asked %d of 4 times, want twice", n)
	}
}

// TestStreamReuse: questions share a connection; a server that closes it, as
// it may, loses none.
func TestStreamReuse(t *testing.T) {
	port := freePort()
	f := newForwarder(t, quick(port))
	s := serveFake(t, "127.0.0.2", port, address("192.0.2.1"))
	streamed := func(i int) Request {
		r := request(t, question(fmt.Sprintf("n%d.example.", i)), s)
		r.Stream = true
		return r
	}
	for i := range 20 {
		ask(t, f, streamed(i))
	}
	s.set(func() {
		if s.accepts != 1 {
			t.Errorf("%d connections for 20 questions, want 1", s.accepts)
		}
	})
	s.set(func() { s.closeAfter = 8 })
	var rs []Request
	for i := range 20 {
		r := streamed(100 + i)
		rs = append(rs, r)
		if !f.Ask(r, nil) {
			t.Fatal("refused")
		}
	}
	for i, r := range rs {
		if got := result(await(t, r)); got != "192.0.2.1" {
			t.Errorf("question %d, with connections that end after eight: %s", i, got)
		}
	}
}
