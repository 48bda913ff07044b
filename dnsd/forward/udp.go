package forward

import (
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// A socket's source port is part of what a forger must guess, so it serves
// only for so long, or so many questions.
const (
	udpMaxAge   = 10 * time.Second
	udpMaxAsked = 1000
)

// udpBuffer is more than a server may send us, given what we advertise.
const udpBuffer = 4096

// udpLink is a connected UDP socket: the kernel lets only the server's own
// datagrams through, and tells of ICMP errors.
type udpLink struct {
	srv     *server
	conn    *net.UDPConn
	waiting map[uint16]*exchange
	born    time.Time
	last    time.Time
	asked   int
	closed  bool
}

// udpLink is a socket to the server, chosen at random.
func (f *Forwarder) udpLink(s *server, now time.Time) (*udpLink, error) {
	i := f.dice.uint16() % poolSize
	l := s.udp[i]
	if l != nil && !l.closed && now.Sub(l.born) < udpMaxAge && l.asked < udpMaxAsked {
		l.last = now
		return l, nil
	}
	if l != nil {
		s.retire(l)
		s.udp[i] = nil
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.addr))
	if err != nil {
		return nil, err
	}
	l = &udpLink{srv: s, conn: conn, waiting: make(map[uint16]*exchange), born: now, last: now}
	s.udp[i] = l
	go l.read(f)
	return l, nil
}

// retire keeps a socket for the replies that are still to come.
func (s *server) retire(l *udpLink) {
	if len(l.waiting) == 0 {
		l.close()
	} else {
		s.retired[l] = struct{}{}
	}
}

func (l *udpLink) server() *server              { return l.srv }
func (l *udpLink) expected(id uint16) *exchange { return l.waiting[id] }

func (l *udpLink) worked() bool { return false } // there is no connection

func (l *udpLink) forget(id uint16) {
	delete(l.waiting, id)
	if _, ok := l.srv.retired[l]; ok && len(l.waiting) == 0 {
		l.close()
	}
}

func (l *udpLink) close() []*exchange {
	l.closed = true
	delete(l.srv.retired, l)
	l.conn.Close() //nolint:errcheck // nothing is lost with a UDP socket
	hit := slices.Collect(maps.Values(l.waiting))
	clear(l.waiting)
	return hit
}

// write sends a message. The first write after an ICMP error reports that
// error and sends nothing, so it is tried again once.
func (l *udpLink) write(msg []byte) {
	if _, err := l.conn.Write(msg); errors.Is(err, syscall.ECONNREFUSED) {
		l.conn.Write(msg) //nolint:errcheck // the reader sees the next one
	}
}

// read hands on what the server sends until the socket is closed. An error of
// the network closes it: the next question gets a new one.
func (l *udpLink) read(f *Forwarder) {
	buf := make([]byte, udpBuffer)
	for {
		n, err := l.conn.Read(buf)
		switch {
		case err == nil:
			f.received(l, buf[:n])
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			f.broken(l)
			return
		}
	}
}
