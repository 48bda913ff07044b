package listen

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// echo answers with the request, and keeps from whom it came. A request that
// begins with 'p' makes it panic, one with 'l' is answered later, one with 's'
// not at all.
type echo struct {
	mu   sync.Mutex
	from map[netip.AddrPort]resolver.Peer
}

func (e *echo) Handle(msg []byte, from resolver.Peer, _ *resolver.Scratch) ([]byte, bool) {
	e.mu.Lock()
	e.from[from.Addr] = from
	e.mu.Unlock()
	switch msg[0] {
	case 'p':
		panic("as asked for")
	case 's':
		return nil, false
	case 'l':
		late := append([]byte(nil), msg...)
		time.AfterFunc(20*time.Millisecond, func() { from.Back.SendReply(late, from.Addr) })
		return nil, true
	}
	return append([]byte(nil), msg...), false
}

// lastPort is below those that the kernel hands out.
var lastPort atomic.Uint32

// loopback opens a set on an address of loopback, at a free port.
func loopback(t *testing.T, addr string) (*Set, names.Listener, string) {
	t.Helper()
	port := uint16(5300 + lastPort.Add(1)) // the tests are alone in their network namespace
	s := NewSet(&echo{from: map[netip.AddrPort]resolver.Peer{}}, slog.New(slog.DiscardHandler))
	s.port = port
	l := names.Listener{Gateway: netip.MustParseAddr(addr)}
	s.Ensure(t.Context(), map[names.Listener]names.Place{l: {}})
	if err := s.Err(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, l, netip.AddrPortFrom(l.Gateway, port).String()
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// request is 12 bytes and more, so that it could be a message.
func request(text string) []byte { return fmt.Appendf(nil, "%-16s", text) }

func TestUDP(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		s, l, at := loopback(t, addr)
		c := dial(t, "udp", at)
		buf := make([]byte, 100)
		for _, text := range []string{"now", "later", "panic", "silence", "again"} {
			if _, err := c.Write(request(text)); err != nil {
				t.Fatal(err)
			}
			if text == "panic" || text == "silence" {
				continue
			}
			n, err := c.Read(buf)
			if err != nil || string(buf[:n]) != string(request(text)) {
				t.Errorf("%s: got %q, %v", text, buf[:n], err)
			}
		}
		e := s.handler.(*echo)
		e.mu.Lock()
		from := e.from[netip.MustParseAddrPort(c.LocalAddr().String())]
		e.mu.Unlock()
		if from.Listener != l || from.Stream {
			t.Errorf("asked from %+v", from)
		}
	}
}

// TestUDPBurst: many datagrams at once, from many clients; each gets its own.
func TestUDPBurst(t *testing.T) {
	_, _, at := loopback(t, "127.0.0.1")
	var group sync.WaitGroup
	for i := range 20 {
		c := dial(t, "udp", at)
		group.Go(func() {
			for j := range 50 {
				c.Write(request(fmt.Sprintf("c%d %d", i, j)))
			}
			seen := map[string]bool{}
			buf := make([]byte, 100)
			for len(seen) < 50 {
				n, err := c.Read(buf)
				if err != nil {
					t.Errorf("client %d has %d answers: %v", i, len(seen), err)
					return
				}
				seen[string(buf[:n])] = true
			}
			for j := range 50 {
				if !seen[string(request(fmt.Sprintf("c%d %d", i, j)))] {
					t.Errorf("client %d has no answer to %d", i, j)
				}
			}
		})
	}
	group.Wait()
}

func TestTCP(t *testing.T) {
	_, _, at := loopback(t, "127.0.0.1")
	c := dial(t, "tcp", at)
	var all []byte
	for _, text := range []string{"later", "now", "silence", "again"} {
		all = append(binary.BigEndian.AppendUint16(all, 16), request(text)...)
	}
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"now", "again", "later"} {
		buf := make([]byte, 18)
		if _, err := c.Read(buf); err != nil || string(buf[2:]) != string(request(want)) {
			t.Errorf("got %q, %v; want %s", buf, err, want)
		}
	}
	bad := dial(t, "tcp", at)
	bad.Write(append([]byte{0, 16}, request("panic")...))
	if n, err := bad.Read(make([]byte, 10)); err == nil {
		t.Errorf("after a panic there are %d bytes", n)
	}
}

// TestSetCloses: what is not wanted any more is closed, with its connections.
func TestSetCloses(t *testing.T) {
	s, _, at := loopback(t, "127.0.0.1")
	c := dial(t, "tcp", at)
	c.Write(append([]byte{0, 16}, request("now")...))
	if _, err := c.Read(make([]byte, 18)); err != nil {
		t.Fatal(err)
	}
	s.Ensure(t.Context(), nil)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if _, err := net.Dial("tcp", at); err == nil {
		t.Error("the port is still open")
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}

// TestConnections: who has to go when there are too many.
func TestConnections(t *testing.T) {
	s := newConnections()
	open := func(addr string) *tcpConn {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		c := &tcpConn{conn: a, from: netip.MustParseAddrPort(addr + ":1")}
		s.add(c)
		return c
	}
	idle := open("10.0.0.3") // for longer than any of whom has too many
	first, second := open("10.0.0.1"), open("10.0.0.1")
	other := open("10.0.0.2")
	for range perClient - 2 {
		open("10.0.0.1")
	}
	s.touch(first)
	open("10.0.0.1")
	if !first.in || second.in || !other.in || !idle.in {
		t.Errorf("over a client's limit: first %v, second %v, others' %v and %v; want only the second out", first.in, second.in, other.in, idle.in)
	}
	for i := range inAll {
		open(fmt.Sprintf("10.1.%d.%d", i>>8, i&255))
	}
	if other.in || first.in || idle.in || s.len() != inAll {
		t.Errorf("over the total: %d connections", s.len())
	}
	for s.head != nil {
		s.remove(s.head)
	}
	if s.len() != 0 || len(s.clients) != 0 || s.tail != nil {
		t.Errorf("%d connections and %d clients are left", s.len(), len(s.clients))
	}
}
