package forward

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/message"
)

// behaviour is what a fake server does with a request: it returns replies, in
// wire form, to be sent at once. A nil one is silence.
type behaviour func(req *dns.Msg, raw []byte) [][]byte

// fakeServer is an upstream server on an address of loopback.
type fakeServer struct {
	addr netip.Addr
	udp  *net.UDPConn
	tcp  net.Listener

	mu      sync.Mutex
	do      behaviour
	seen    [][]byte
	from    map[netip.AddrPort]int // UDP source ports
	accepts int
	// closeAfter ends a TCP connection after so many replies; 0 is never.
	closeAfter int
}

// lastPort is below those that the kernel hands out.
var lastPort atomic.Uint32

// freePort is a port that all fake servers of a test share, as real ones share
// 53. The tests are alone in their network namespace.
func freePort() uint16 { return uint16(5300 + lastPort.Add(1)) }

func serveFake(t *testing.T, addr string, port uint16, do behaviour) *fakeServer {
	t.Helper()
	s := &fakeServer{addr: netip.MustParseAddr(addr), do: do, from: map[netip.AddrPort]int{}}
	at := netip.AddrPortFrom(s.addr, port)
	var err error
	if s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
		t.Fatal(err)
	}
	if s.tcp, err = net.Listen("tcp", at.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.udp.Close(); s.tcp.Close() })
	go s.serveUDP()
	go s.serveTCP()
	return s
}

func (s *fakeServer) serveUDP() {
	buf := make([]byte, 65535)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.from[from]++
		s.mu.Unlock()
		for _, reply := range s.reply(buf[:n]) {
			s.udp.WriteToUDPAddrPort(reply, from)
		}
	}
}

func (s *fakeServer) serveTCP() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.accepts++
		s.mu.Unlock()
		go s.converse(c)
	}
}

func (s *fakeServer) converse(c net.Conn) {
	defer c.Close()
	for n := 0; !s.enough(n); n++ {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, msg); err != nil {
			return
		}
		for _, reply := range s.reply(msg) {
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}
	}
}

func (s *fakeServer) reply(raw []byte) [][]byte {
	raw = append([]byte(nil), raw...)
	req := new(dns.Msg)
	if err := req.Unpack(raw); err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, slices.Clone(raw)) // the behaviour may change it
	if s.do == nil {
		return nil
	}
	return s.do(req, raw)
}

func (s *fakeServer) enough(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeAfter != 0 && n >= s.closeAfter
}

// set changes what the server does.
func (s *fakeServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *fakeServer) answerWith(do behaviour) { s.set(func() { s.do = do }) }

// requests are the messages that came so far.
func (s *fakeServer) requests() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Behaviours.

func pack(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// address answers every question with an address.
func address(a string) behaviour {
	return func(req *dns.Msg, _ []byte) [][]byte {
		m := new(dns.Msg).SetReply(req)
		rr, err := dns.NewRR(req.Question[0].Name + " 300 A " + a)
		if err != nil {
			panic(err)
		}
		m.Answer = []dns.RR{rr}
		return [][]byte{pack(m)}
	}
}

func rcode(code int) behaviour {
	return func(req *dns.Msg, _ []byte) [][]byte { return [][]byte{pack(new(dns.Msg).SetRcode(req, code))} }
}

// inbox is a Back that keeps what it is sent.
type inbox chan []byte

func (b inbox) SendReply(reply []byte, _ netip.AddrPort) { b <- append([]byte(nil), reply...) }

// request makes a request out of a message.
func request(t *testing.T, m *dns.Msg, servers ...*fakeServer) Request {
	t.Helper()
	r := Request{Query: new(message.Query), Msg: pack(m), Client: netip.MustParseAddrPort("10.0.0.2:4000"), Back: make(inbox, 16)}
	if v := r.Query.Parse(r.Msg); v != message.Valid {
		t.Fatalf("the request is not valid: %v", v)
	}
	for _, s := range servers {
		r.Servers = append(r.Servers, s.addr)
	}
	return r
}

// ask asks and waits for the reply.
func ask(t *testing.T, f *Forwarder, r Request) *dns.Msg {
	t.Helper()
	if !f.Ask(r, nil) {
		t.Fatal("refused")
	}
	return await(t, r)
}

func await(t *testing.T, r Request) *dns.Msg {
	t.Helper()
	select {
	case b := <-r.Back.(inbox):
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatalf("unpack the reply: %v: %x", err, b)
		}
		return m
	case <-time.After(patience):
		t.Fatal("no reply")
		return nil
	}
}

func question(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

// result is a reply in a word: its first address, or its rcode.
func result(m *dns.Msg) string {
	if len(m.Answer) > 0 {
		if a, ok := m.Answer[0].(*dns.A); ok {
			return a.A.String()
		}
	}
	return dns.RcodeToString[m.Rcode]
}
