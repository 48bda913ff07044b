package dnsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/test/netns"
)

// silence is how long an answer is waited for that must not come.
const silence = 150 * time.Millisecond

// path is a way to a server: a transport and an address, from a namespace.
type path struct {
	from      *netns.Namespace
	transport string
	server    string
}

func (p path) String() string {
	family := "4"
	if strings.Contains(p.server, ":") {
		family = "6"
	}
	return p.transport + family
}

// dial connects from inside the namespace.
func (p path) dial() (conn net.Conn, err error) {
	err = p.from.Do(func() error {
		conn, err = net.DialTimeout(p.transport, net.JoinHostPort(p.server, "53"), patience)
		return err
	})
	return conn, err
}

func send(conn net.Conn, msgs ...[]byte) error {
	var b []byte
	for _, msg := range msgs {
		if _, ok := conn.(*net.TCPConn); ok {
			b = binary.BigEndian.AppendUint16(b, uint16(len(msg)))
		}
		b = append(b, msg...)
	}
	_, err := conn.Write(b)
	return err
}

// receive reads one message; nil if the wait is over or the peer hung up.
func receive(conn net.Conn, wait time.Duration) ([]byte, error) {
	conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 65537)
	if _, ok := conn.(*net.TCPConn); !ok {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err := io.ReadFull(conn, buf[2:2+n])
	return buf[2 : 2+n], err
}

// fakeUpstream is a server in the host's namespace, at 127.0.0.53.
type fakeUpstream struct {
	mu   sync.Mutex
	seen []string // names asked for
}

// names are the questions so far.
func (u *fakeUpstream) names() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.seen...)
}

func (u *fakeUpstream) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	name := strings.ToLower(req.Question[0].Name)
	u.mu.Lock()
	u.seen = append(u.seen, name)
	u.mu.Unlock()
	m := new(dns.Msg).SetReply(req)
	m.RecursionAvailable, m.Compress = true, true
	udp := w.LocalAddr().Network() == "udp"
	switch {
	case strings.HasPrefix(name, "slow."):
		time.Sleep(500 * time.Millisecond)
		m.Answer = []dns.RR{rr(name + " 30 A 192.0.2.9")}
	case strings.HasPrefix(name, "missing."):
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{rr("example. 60 SOA ns.example. mail.example. 1 2 3 4 5")}
	case strings.HasPrefix(name, "broken."):
		m.Rcode = dns.RcodeServerFailure
	case strings.HasPrefix(name, "large.") && udp:
		m.Truncated = true
	case strings.HasPrefix(name, "large."):
		for range 250 {
			m.Answer = append(m.Answer, rr(name+` 30 TXT "`+strings.Repeat("x", 240)+`"`))
		}
	case req.Question[0].Qtype == 65280:
		m.Answer = []dns.RR{rr(name + ` 30 TYPE65280 \# 3 01ff00`)}
	default:
		m.Answer = []dns.RR{rr(req.Question[0].Name + " 30 A 192.0.2.1")}
	}
	if o := req.IsEdns0(); o != nil {
		m.SetEdns0(1400, o.Do())
		for _, option := range o.Option { // what the client sent comes back
			m.IsEdns0().Option = append(m.IsEdns0().Option, option)
		}
	}
	w.WriteMsg(m)
}

func rr(text string) dns.RR {
	r, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return r
}

// startUpstream serves in the host's namespace.
func (w *world) startUpstream(addr string) *fakeUpstream {
	w.t.Helper()
	u := new(fakeUpstream)
	serveIn(w.t, w.host, addr, u)
	return u
}

// serveIn serves in a namespace until the test ends, or stop is called.
func serveIn(t testing.TB, n *netns.Namespace, addr string, h dns.Handler) (stop func()) {
	t.Helper()
	var servers []*dns.Server
	err := n.Do(func() error {
		pc, err := net.ListenPacket("udp4", addr+":53")
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp4", addr+":53")
		servers = []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
	}
	stop = sync.OnceFunc(func() {
		for _, s := range servers {
			s.Shutdown()
		}
	})
	t.Cleanup(stop)
	return stop
}

// manyOwners is how many have the alias "many": too many for 512 bytes.
const manyOwners = 60

// rfcWorld has what the RFC tests ask about.
func rfcWorld(t testing.TB) (*world, *container, *fakeUpstream) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24", "fd00:88::1/64")
	web := w.container("front", "web", "a.b")
	for i := range manyOwners {
		w.put(w.bare("front", fmt.Sprintf("10.88.0.%d/24", 100+i), fmt.Sprint("m", i), "many"))
	}
	w.put(w.bare("front", "10.88.0.9/24", "four"))
	u := w.startUpstream("127.0.0.53")
	w.setUpstream("127.0.0.53")
	return w, web, u
}

// bare is a record without a container behind it.
func (w *world) bare(network, addr string, names ...string) ledger.Record {
	n := w.networks[network]
	return ledger.Record{
		Key:       ledger.Key{Network: network, Container: "id-" + names[0], IfName: "eth0"},
		Names:     ledger.Names{Own: names, Device: n.device, Internal: n.internal},
		Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix(addr), Gateway: n.gateways[0].Addr()}},
	}
}
