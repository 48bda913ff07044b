package forward

import (
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/dnsd/message"
)

// maxServers is how many servers one exchange asks.
const maxServers = 8

// maxAttempts is one for each step until the deadline, and as many for servers
// that fail at once.
const maxAttempts = 5 + maxServers

// An exchange is a question under way. The forwarder's lock guards it.
type exchange struct {
	key      uint64
	msg      []byte // as sent, with ID 0
	question int    // where the question ends in msg
	stream   bool
	asked    message.Asked

	servers []*server // in the order for this exchange
	tried   int       // servers asked at least once, from the front
	next    int       // of servers, once all were tried
	failed  [maxServers]bool
	// failure is the best of the failures that servers replied with.
	failure      []byte
	failureRcode int
	unreachable  bool // the network could not reach a server

	attempts []attempt
	waiter   waiter
	others   []waiter // with the same question
	started  time.Time

	step, end links // places in the two queues
}

// attempt is one sending of an exchange, which a reply will refer to by ID.
type attempt struct {
	link   link
	id     uint16
	server *server
}

// waiter is a client that waits for an exchange.
type waiter struct {
	id      uint16
	client  netip.AddrPort
	account netip.Addr
	back    Back
}

// same tells whether a request is the same question to the same servers, so
// that one reply serves both: every bit of it must be equal but the ID.
func (x *exchange) same(msg []byte, stream bool, servers []*server) bool {
	if x.stream != stream || len(x.msg) != len(msg) || len(x.servers) != len(servers) {
		return false
	}
	for i := range servers {
		if x.servers[i] != servers[i] {
			return false
		}
	}
	return string(x.msg[2:]) == string(msg[2:])
}

// leave takes the exchange off everything that a reply could come over.
func (x *exchange) leave() {
	for _, a := range x.attempts {
		a.link.forget(a.id)
	}
}

// waitsOn tells whether a reply may come over a link.
func (x *exchange) waitsOn(l link) bool {
	return slices.ContainsFunc(x.attempts, func(a attempt) bool { return a.link == l })
}

// attemptsAt is how often the exchange was sent to a server.
func (x *exchange) attemptsAt(s *server) int {
	n := 0
	for _, a := range x.attempts {
		if a.server == s {
			n++
		}
	}
	return n
}

// exhausted tells whether every server has failed.
func (x *exchange) exhausted() bool {
	for i := range x.servers {
		if !x.failed[i] {
			return false
		}
	}
	return true
}

// candidate is the server to ask now: those not asked yet come first, in their
// order, then in turn those that have not failed. It is nil if there is none.
func (x *exchange) candidate() *server {
	if len(x.attempts) >= maxAttempts {
		return nil
	}
	if x.tried < len(x.servers) {
		x.tried++
		return x.servers[x.tried-1]
	}
	if x.stream {
		return nil // the network repeats what gets lost
	}
	for range x.servers {
		i := x.next
		x.next = (x.next + 1) % len(x.servers)
		if !x.failed[i] {
			return x.servers[i]
		}
	}
	return nil
}

// fail notes that a server won't answer this question.
func (x *exchange) fail(s *server) {
	for i := range x.servers {
		if x.servers[i] == s {
			x.failed[i] = true
		}
	}
}

// keepFailure remembers a server's failure for the case that nobody does
// better. SERVFAIL goes before the others: it is what "all else failed" means.
func (x *exchange) keepFailure(reply []byte, rcode int) {
	if len(x.failure) == 0 || (rcode == message.ServFail && x.failureRcode != message.ServFail) {
		x.failure, x.failureRcode = append(x.failure[:0], reply...), rcode
	}
}

// recycle empties an exchange for its next use and keeps its buffers.
func (x *exchange) recycle() {
	clear(x.attempts)
	clear(x.servers)
	*x = exchange{
		msg: x.msg[:0], failure: x.failure[:0],
		attempts: x.attempts[:0], servers: x.servers[:0],
	}
}
