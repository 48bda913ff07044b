package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
	"github.com/netctl/netctl/dnsd/stream"
)

// Times of a TCP connection.
const (
	// tcpFirst is how long a new connection may say nothing, tcpIdle how long
	// it may between queries, tcpWhole how long one query may take to arrive.
	tcpFirst = 3 * time.Second
	tcpIdle  = 10 * time.Second
	tcpWhole = 3 * time.Second
	tcpWrite = 5 * time.Second
	// acceptPause keeps a lack of resources from filling the log.
	acceptPause = 50 * time.Millisecond
)

func stack() string { return string(debug.Stack()) }

// tcpListener takes connections for a listener.
type tcpListener struct {
	listener names.Listener
	l        *net.TCPListener
	handler  Handler
	conns    *connections
	log      *slog.Logger
}

// serve takes connections until the listener is closed.
func (t *tcpListener) serve() {
	for {
		c, err := t.l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// We are out of descriptors or memory. To close the oldest
			// connection helps; if there is none, only time does.
			t.log.Warn("accept", "listener", t.listener, "err", err)
			t.conns.evictOldest()
			time.Sleep(acceptPause)
			continue
		}
		from := plain(c.RemoteAddr().(*net.TCPAddr).AddrPort())
		conn := &tcpConn{t: t, conn: c, from: from, out: stream.NewWriter(c, tcpWrite), container: t.listener.Container}
		t.conns.add(conn)
		go conn.serve()
	}
}

// tcpConn is a client's connection.
type tcpConn struct {
	t    *tcpListener
	conn net.Conn
	from netip.AddrPort
	out  *stream.Writer
	// container is whose namespace it was made in, "" for the host's.
	container string
	// late are the queries whose answer comes later.
	late sync.WaitGroup

	place // among all connections
}

func (c *tcpConn) client() client { return client{c.container, c.from.Addr()} }

// serve answers queries in the order in which they come, except for those
// whose answer comes from elsewhere.
func (c *tcpConn) serve() {
	defer func() { recovered(c.t.log, recover()) }()
	defer c.t.conns.remove(c)
	if err := c.answerAll(); !errors.Is(err, io.EOF) {
		return
	}
	// The client has asked all it will, and may still be listening. Answers
	// come in bounded time: the forwarder gives up after a while.
	c.late.Wait()
	c.out.Flush() //nolint:errcheck // the connection ends anyway
}

// answerAll answers until the stream ends. All that arrived together is
// answered in one write.
func (c *tcpConn) answerAll() error {
	r := stream.NewReader(c.conn, tcpFirst, tcpWhole)
	scratch := resolver.NewScratch()
	peer := resolver.Peer{Listener: c.t.listener, Addr: c.from, Stream: true, Back: c}
	for {
		msg, err := r.Next()
		if err != nil {
			return err
		}
		r.SetIdle(tcpIdle)
		c.late.Add(1)
		reply, later := c.t.handler.Handle(msg, peer, scratch)
		if !later {
			c.late.Done()
		}
		if reply != nil {
			err = c.out.Queue(reply)
		}
		if err == nil && !r.Buffered() {
			c.t.conns.touch(c)
			err = c.out.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// SendReply sends a reply that comes later.
func (c *tcpConn) SendReply(reply []byte, _ netip.AddrPort) {
	c.out.Send(reply) //nolint:errcheck // ends the connection, which serve sees
	c.late.Done()
}
