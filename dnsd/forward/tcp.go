package forward

import (
	"maps"
	"net"
	"slices"
	"time"

	"github.com/netctl/netctl/dnsd/stream"
)

const (
	// tcpMax is how many connections a server gets. Questions share one only
	// when all are in use: many servers answer a connection's in their order,
	// and then a slow one holds up the others.
	tcpMax = 16
	// tcpIdle is when a connection without questions is closed.
	tcpIdle = 10 * time.Second
	// tcpDial is how long a connection may take, and a message on its way.
	tcpDial  = 4 * time.Second
	tcpWrite = 4 * time.Second
)

// tcpLink is a TCP connection to a server, with many questions on it at once
// (RFC 7766 section 6.2.1.1).
type tcpLink struct {
	srv     *server
	waiting map[uint16]*exchange
	made    bool // the server took the connection
	// conn stands in for the connection while there is none yet.
	conn *lateConn
	out  *stream.Writer
}

// tcpLink is the connection with the least to do, or a new one.
func (f *Forwarder) tcpLink(s *server) *tcpLink {
	var best *tcpLink
	for _, l := range s.tcp {
		if best == nil || len(l.waiting) < len(best.waiting) {
			best = l
		}
	}
	if best != nil && (len(best.waiting) == 0 || len(s.tcp) >= tcpMax) {
		return best
	}
	conn := newLateConn()
	l := &tcpLink{srv: s, waiting: make(map[uint16]*exchange), conn: conn, out: stream.NewWriter(conn, tcpWrite)}
	s.tcp = append(s.tcp, l)
	go l.run(f)
	return l
}

func (l *tcpLink) server() *server              { return l.srv }
func (l *tcpLink) expected(id uint16) *exchange { return l.waiting[id] }
func (l *tcpLink) forget(id uint16)             { delete(l.waiting, id) }
func (l *tcpLink) worked() bool                 { return l.made }
func (l *tcpLink) write(msg []byte)             { l.out.Send(msg) } //nolint:errcheck // ends the connection, which run sees

func (l *tcpLink) close() []*exchange {
	l.srv.tcp = slices.DeleteFunc(l.srv.tcp, func(have *tcpLink) bool { return have == l })
	l.conn.Close() //nolint:errcheck // whatever was on it is lost anyway
	hit := slices.Collect(maps.Values(l.waiting))
	clear(l.waiting)
	return hit
}

// run connects and reads until the connection ends. Questions that were on it
// go to the next server. A connection that ends with none on it has done its
// work: servers close idle ones when they like.
func (l *tcpLink) run(f *Forwarder) {
	defer f.broken(l)
	conn, err := net.DialTimeout("tcp", l.srv.addr.String(), tcpDial)
	if err != nil {
		return
	}
	f.mu.Lock()
	l.made = true
	f.mu.Unlock()
	if !l.conn.arrive(conn) {
		return
	}
	r := stream.NewReader(conn, tcpIdle, tcpIdle)
	for {
		msg, err := r.Next()
		if err != nil {
			return
		}
		f.received(l, msg)
	}
}
