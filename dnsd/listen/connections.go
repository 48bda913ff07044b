package listen

import (
	"net/netip"
	"sync"
)

// Limits of TCP connections. A client, or all of them together, may have so
// many; one more costs the one that has been idle for the longest.
const (
	perClient = 64
	inAll     = 1024
)

// connections are all TCP connections, the one idle for the longest first.
// Nobody is ever kept waiting: a client with 300 idle connections still gets
// its next one served.
type connections struct {
	mu         sync.Mutex
	head, tail *tcpConn
	count      int
	clients    map[client]int
}

func newConnections() *connections { return &connections{clients: make(map[client]int)} }

// client is who has a connection. Inside of containers all have the same
// addresses.
type client struct {
	container string
	addr      netip.Addr
}

// place is a connection's place among the others.
type place struct {
	prev, next *tcpConn
	in         bool
}

func (s *connections) add(c *tcpConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := c.client()
	if s.clients[who] >= perClient {
		s.evict(func(have *tcpConn) bool { return have.client() == who })
	}
	if s.count >= inAll {
		s.evict(func(*tcpConn) bool { return true })
	}
	s.count++
	s.clients[who]++
	s.link(c)
}

// evict closes the longest idle connection that fits.
func (s *connections) evict(fits func(*tcpConn) bool) {
	for c := s.head; c != nil; c = c.next {
		if fits(c) {
			s.drop(c)
			return
		}
	}
}

func (s *connections) evictOldest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(func(*tcpConn) bool { return true })
}

// remove closes a connection.
func (s *connections) remove(c *tcpConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
}

// touch notes that a connection is in use.
func (s *connections) touch(c *tcpConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.in && s.tail != c {
		s.unlink(c)
		s.link(c)
	}
}

// closeAll closes the connections of a listener that is no more.
func (s *connections) closeAll(t *tcpListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.head; c != nil; {
		next := c.next
		if c.t == t {
			s.drop(c)
		}
		c = next
	}
}

// len is the number of connections.
func (s *connections) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *connections) drop(c *tcpConn) {
	if !c.in {
		return
	}
	c.conn.Close() //nolint:errcheck // a reply that can't be sent is lost either way
	s.unlink(c)
	s.count--
	who := c.client()
	if s.clients[who]--; s.clients[who] == 0 {
		delete(s.clients, who)
	}
}

func (s *connections) link(c *tcpConn) {
	c.place = place{prev: s.tail, in: true}
	if s.tail == nil {
		s.head = c
	} else {
		s.tail.next = c
	}
	s.tail = c
}

func (s *connections) unlink(c *tcpConn) {
	if c.prev == nil {
		s.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.place = place{}
}
