package forward

import (
	"net/netip"
	"slices"
	"time"
)

// poolSize is how many UDP sockets a server is asked over at random: a forger
// has to guess the port as well as the ID.
const poolSize = 16

// server is an upstream server: its sockets and how it has been doing.
type server struct {
	addr netip.AddrPort
	used time.Time

	misses    int       // in a row
	lastUntil time.Time // until then it is asked after all others

	udp     [poolSize]*udpLink
	tcp     []*tcpLink
	retired map[*udpLink]struct{} // replaced, with questions still out
}

// A link is a socket to a server. Its methods are called with the forwarder's
// lock held, but for write, which takes no lock of the forwarder's.
type link interface {
	server() *server
	// expected is the exchange that a reply's ID belongs to, or nil.
	expected(id uint16) *exchange
	// forget ends the wait for an ID.
	forget(id uint16)
	// close closes the socket and returns the exchanges that waited on it.
	close() []*exchange
	// worked tells of a connection that the server had taken.
	worked() bool
	// write sends a message. Errors come to light where replies are read.
	write(msg []byte)
}

// missed notes that the server did not answer. Two misses in a row put it
// behind the others.
func (s *server) missed(now time.Time, penalty time.Duration) {
	s.misses++
	if s.misses >= 2 {
		s.lastUntil = now.Add(penalty)
	}
}

func (s *server) answered() { s.misses, s.lastUntil = 0, time.Time{} }

// order appends the servers of the addresses to dst, those in disgrace last.
func (f *Forwarder) order(dst []*server, addrs []netip.Addr, now time.Time) []*server {
	bad := 0
	for _, a := range addrs[:min(len(addrs), maxServers)] {
		s := f.servers[a]
		if s == nil {
			s = &server{addr: netip.AddrPortFrom(a, f.opt.Port), retired: make(map[*udpLink]struct{})}
			f.servers[a] = s
		}
		s.used = now
		if s.lastUntil.After(now) {
			bad++
		}
		dst = append(dst, s)
	}
	if bad > 0 && bad < len(dst) {
		slices.SortStableFunc(dst, func(a, b *server) int {
			switch x, y := a.lastUntil.After(now), b.lastUntil.After(now); {
			case x && !y:
				return 1
			case y && !x:
				return -1
			}
			return 0
		})
	}
	return dst
}

// attempt finds a link to the server and an ID that is free there, and makes
// the link expect the exchange's reply.
func (f *Forwarder) attempt(x *exchange, s *server, now time.Time) (attempt, error) {
	if x.stream {
		l := f.tcpLink(s)
		id := f.freeID(l.waiting)
		l.waiting[id] = x
		return attempt{link: l, id: id, server: s}, nil
	}
	l, err := f.udpLink(s, now)
	if err != nil {
		return attempt{}, err
	}
	id := f.freeID(l.waiting)
	l.waiting[id] = x
	l.asked++
	return attempt{link: l, id: id, server: s}, nil
}

// freeID is a random ID that waits for nothing. With at most 8192 questions
// under way over all, one of eight at worst is taken.
func (f *Forwarder) freeID(taken map[uint16]*exchange) uint16 {
	for {
		id := f.dice.uint16()
		if taken[id] == nil {
			return id
		}
	}
}

// close closes all sockets. Whoever waits, waits in vain.
func (s *server) close() {
	for _, l := range s.udp {
		if l != nil {
			l.close()
		}
	}
	for l := range s.retired {
		l.close()
	}
	for _, l := range slices.Clone(s.tcp) {
		l.close()
	}
}

const (
	sweepEvery = 15 * time.Second
	// idleAfter is when an unused socket is closed.
	idleAfter = 30 * time.Second
)

// sweep closes sockets that were not used for a while, and forgets servers
// that nobody uses any more.
func (f *Forwarder) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	now := time.Now()
	for addr, s := range f.servers {
		for i, l := range s.udp {
			if l != nil && len(l.waiting) == 0 && now.Sub(l.last) > idleAfter {
				l.close()
				s.udp[i] = nil
			}
		}
		if now.Sub(s.used) > idleAfter && !s.busy() {
			delete(f.servers, addr)
		}
	}
	f.sweeper.Reset(sweepEvery)
}

// busy tells whether any socket is open.
func (s *server) busy() bool {
	return len(s.tcp) > 0 || len(s.retired) > 0 ||
		slices.ContainsFunc(s.udp[:], func(l *udpLink) bool { return l != nil })
}
