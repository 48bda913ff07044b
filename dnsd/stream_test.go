package dnsd

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// openStream connects over TCP and closes with the test.
func openStream(t testing.TB, way path) net.Conn {
	t.Helper()
	way.transport = "tcp"
	conn, err := way.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// numbered is a question with an ID.
func numbered(name string, id uint16) []byte {
	return ask1(name, dns.TypeA, func(m *dns.Msg) { m.Id = id })
}

// readIDs reads so many replies and returns their IDs in the order of coming.
func readIDs(t testing.TB, conn net.Conn, n int) (ids []uint16) {
	t.Helper()
	for range n {
		b, err := receive(conn, patience)
		if err != nil || b == nil {
			t.Fatalf("reply %d of %d: %v", len(ids)+1, n, err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Id)
	}
	return ids
}

// TestStreams are the demands of RFC 7766 on what happens on a connection.
func TestStreams(t *testing.T) {
	w, web, _ := rfcWorld(t)
	w.serve()
	for _, way := range ways(web)[2:] {
		t.Run(way.String()+" 8: split and joined writes", func(t *testing.T) {
			conn := openStream(t, way)
			conn.(*net.TCPConn).SetNoDelay(true)
			msg := numbered("web", 1)
			for _, b := range append([]byte{0, byte(len(msg))}, msg...) {
				if _, err := conn.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			readIDs(t, conn, 1)
			if err := send(conn, numbered("web", 2), numbered("web", 3), numbered("four", 4)); err != nil {
				t.Fatal(err)
			}
			if ids := readIDs(t, conn, 3); !slices.Equal(ids, []uint16{2, 3, 4}) {
				t.Errorf("replies %v", ids)
			}
		})
		t.Run(way.String()+" 7: a slow answer holds nothing up", func(t *testing.T) {
			conn := openStream(t, way)
			if err := send(conn, numbered("slow.example", 1), numbered("web", 2), numbered("www.example", 3)); err != nil {
				t.Fatal(err)
			}
			if ids := readIDs(t, conn, 3); ids[0] != 2 || ids[2] != 1 {
				t.Errorf("replies %v, want 2 first and 1 last", ids)
			}
		})
		t.Run(way.String()+" 6.2.1: 1000 queries, all at once", func(t *testing.T) {
			conn := openStream(t, way)
			var msgs [][]byte
			for i := range 1000 {
				msgs = append(msgs, numbered([]string{"web", "www.example"}[i%2], uint16(i)))
			}
			sent := make(chan error, 1)
			go func() { sent <- send(conn, msgs...) }()
			ids := readIDs(t, conn, 1000)
			if err := <-sent; err != nil {
				t.Error(err)
			}
			slices.Sort(ids)
			if len(slices.Compact(ids)) != 1000 {
				t.Errorf("%d different replies, want 1000", len(slices.Compact(ids)))
			}
		})
		t.Run(way.String()+" 6.2.4: half-closed", func(t *testing.T) {
			conn := openStream(t, way)
			if err := send(conn, numbered("web", 1), numbered("slow.example", 2)); err != nil {
				t.Fatal(err)
			}
			conn.(*net.TCPConn).CloseWrite()
			if ids := readIDs(t, conn, 2); !slices.Equal(ids, []uint16{1, 2}) {
				t.Errorf("replies %v", ids)
			}
		})
	}
}

// TestIdleConnections: 300 of them from one client do not keep it from asking
// on one more, nor anybody else.
func TestIdleConnections(t *testing.T) {
	w, web, _ := rfcWorld(t)
	other := w.container("front", "other")
	w.serve()
	way := ways(web)[2]
	var idle []net.Conn
	for range 300 {
		idle = append(idle, openStream(t, way))
	}
	for i, from := range []*container{web, other, web} {
		if got := answers(ask(from.Namespace, "tcp", "10.88.0.1", query("four", dns.TypeA))); got != "10.88.0.9" {
			t.Errorf("query %d: %s", i, got)
		}
	}
	st, err := w.status()
	if err != nil || st.Connections > 64 {
		t.Errorf("%d connections are open, want at most 64: %v", st.Connections, err)
	}
	// The longest idle ones were ended.
	if b, err := receive(idle[0], patience); b != nil || (err != nil && !isReset(err)) {
		t.Errorf("the first connection: %x, %v", b, err)
	}
}

func isReset(err error) bool {
	ne, ok := err.(net.Error)
	return !ok || !ne.Timeout()
}

// TestHostileStreams: clients that trickle, lie about lengths, or never read.
// Others notice nothing.
func TestHostileStreams(t *testing.T) {
	w, web, _ := rfcWorld(t)
	other := w.container("front", "other")
	w.serve()
	way := ways(web)[2]
	trickle := openStream(t, way)
	go func() {
		msg := numbered("web", 1)
		for _, b := range append([]byte{0, byte(len(msg))}, msg...) {
			if _, err := trickle.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
	for _, nonsense := range []string{"\x00\x00", "\x00\x01x", "\x00\x0b12345678901", "GET / HTTP/1.1\r\n\r\n", "\x00\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		conn := openStream(t, way)
		if _, err := conn.Write([]byte(nonsense)); err != nil {
			t.Fatal(err)
		}
	}
	deaf := openStream(t, way)
	go func() {
		for i := range 100_000 { // some 60 KB each: more than anybody keeps for him
			if send(deaf, numbered("large.example", uint16(i))) != nil {
				return
			}
		}
	}()
	start := time.Now()
	for n := 0; time.Since(start) < 4*time.Second; n++ {
		if got := answers(ask(other.Namespace, []string{"udp", "tcp"}[n%2], "10.88.0.1", query("four", dns.TypeA))); got != "10.88.0.9" {
			t.Fatalf("query %d: %s", n, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if b, err := receive(trickle, 100*time.Millisecond); b != nil || (err != nil && !isReset(err)) {
		t.Errorf("the trickling client got %x, %v", b, err)
	}
	if kb := w.memory(); kb > 100_000 {
		t.Errorf("the resolver takes %d kB", kb)
	}
}

// memory is the resolver's resident memory in kB.
func (w *world) memory() (kb int) {
	w.t.Helper()
	st, err := w.status()
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.PID))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb
		}
	}
	w.t.Fatal("no VmRSS")
	return 0
}
