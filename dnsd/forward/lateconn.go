package forward

import (
	"net"
	"sync"
	"time"
)

// lateConn is a connection that is still being made. Writes wait for it.
type lateConn struct {
	ready chan struct{} // closed when conn is there, or never will be

	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

func newLateConn() *lateConn { return &lateConn{ready: make(chan struct{})} }

// arrive brings the connection, unless nobody wants it any more.
func (c *lateConn) arrive(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close() //nolint:errcheck // never used
		return false
	}
	c.conn = conn
	close(c.ready)
	return true
}

func (c *lateConn) Write(p []byte) (int, error) {
	<-c.ready
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return 0, net.ErrClosed
	}
	return conn.Write(p)
}

// SetWriteDeadline bounds writes on a connection that is there. The wait for
// it is bounded by whoever makes it.
func (c *lateConn) SetWriteDeadline(t time.Time) error {
	<-c.ready
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return net.ErrClosed
	}
	return c.conn.SetWriteDeadline(t)
}

func (c *lateConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.conn == nil {
		close(c.ready)
		return nil
	}
	return c.conn.Close()
}
