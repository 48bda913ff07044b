package forward

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/netctl/netctl/dnsd/message"
)

// A Forwarder asks upstream servers. It is safe for concurrent use.
type Forwarder struct {
	opt  Options
	seed maphash.Seed

	mu      sync.Mutex // guards what follows, and everything reached from it
	closed  bool
	flying  map[uint64]*exchange // by the hash of the question
	clients map[netip.Addr]int   // questions under way of each
	total   int
	servers map[netip.Addr]*server
	steps   queue // waiting for the next server's turn
	ends    queue // waiting for the deadline
	alarm   alarm
	sweeper *time.Timer
	free    []*exchange
	dice    dice
	count   Counters
	latency Histogram
}

// maxFree is how many exchanges are kept for their next use.
const maxFree = 1024

// New makes a forwarder. Close ends it.
func New(opt Options) *Forwarder {
	f := &Forwarder{
		opt: opt.withDefaults(), seed: maphash.MakeSeed(),
		flying:  make(map[uint64]*exchange),
		clients: make(map[netip.Addr]int),
		servers: make(map[netip.Addr]*server),
		steps:   queue{of: func(x *exchange) *links { return &x.step }},
		ends:    queue{of: func(x *exchange) *links { return &x.end }},
	}
	f.mu.Lock() // the timers' functions wait until all is in place
	defer f.mu.Unlock()
	f.alarm.timer = time.AfterFunc(time.Hour, f.ring)
	f.sweeper = time.AfterFunc(sweepEvery, f.sweep)
	return f
}

// Close drops everything under way and closes the sockets.
func (f *Forwarder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.alarm.timer.Stop()
	f.sweeper.Stop()
	for _, s := range f.servers {
		s.close()
	}
}

// Ask begins to find out. The reply, or the news that there is none, comes
// through the request's Back, perhaps before Ask returns. If Ask returns
// false, nothing will come: the client, or all of them together, have too many
// questions under way. The message is written in scratch, which must not share
// memory with the request.
func (f *Forwarder) Ask(r Request, scratch []byte) bool {
	msg := message.AppendForward(scratch[:0], r.Query, r.Msg)
	message.SetID(msg, 0)
	key := f.key(msg, r)
	now := time.Now()
	var e effects
	f.mu.Lock()
	ok := f.admit(r.account())
	if ok {
		f.ask(r, msg, key, now, &e)
	}
	f.mu.Unlock()
	e.happen()
	return ok
}

// key is the hash of what makes two requests the same.
func (f *Forwarder) key(msg []byte, r Request) uint64 {
	k := maphash.Bytes(f.seed, msg[2:]) ^ maphash.Comparable(f.seed, r.Servers[0])
	if r.Stream {
		k++
	}
	return k
}

// admit counts a client's question, unless that is over a limit.
func (f *Forwarder) admit(client netip.Addr) bool {
	n := f.clients[client]
	if f.closed || f.total >= f.opt.Total || n >= f.opt.PerClient {
		f.count.Refused++
		return false
	}
	f.total++
	f.clients[client] = n + 1
	return true
}

// dismiss is the end of what admit counted.
func (f *Forwarder) dismiss(client netip.Addr) {
	f.total--
	if n := f.clients[client] - 1; n > 0 {
		f.clients[client] = n
	} else {
		delete(f.clients, client)
	}
}

func (f *Forwarder) ask(r Request, msg []byte, key uint64, now time.Time, e *effects) {
	w := waiter{id: r.Query.ID, client: r.Client, account: r.account(), back: r.Back}
	var order [maxServers]*server
	servers := f.order(order[:0], r.Servers, now)
	if x := f.flying[key]; x != nil && x.same(msg, r.Stream, servers) {
		x.others = append(x.others, w)
		f.count.Shared++
		return
	}
	x := f.newExchange()
	x.key, x.started, x.stream, x.waiter = key, now, r.Stream, w
	x.msg = append(x.msg, msg...)
	x.question = message.HeaderLen + len(r.Query.Question(r.Msg))
	x.servers = append(x.servers, servers...)
	x.asked = message.Asked{EDNS: r.Query.EDNS, Limit: r.Query.Limit()}
	if r.Stream {
		x.asked.Limit = message.MaxSize
	}
	// If another exchange has this hash by chance it goes on, unshared.
	f.flying[key] = x
	f.ends.push(x, now.Add(f.opt.Deadline))
	f.count.Exchanges++
	f.send(x, msg, now, e)
}

func (f *Forwarder) newExchange() *exchange {
	if n := len(f.free); n > 0 {
		x := f.free[n-1]
		f.free = f.free[:n-1]
		return x
	}
	return new(exchange)
}

// send asks the next server; if that is impossible on the spot, the one after
// it. buf holds the question; it is written to later.
func (f *Forwarder) send(x *exchange, buf []byte, now time.Time, e *effects) {
	for s := x.candidate(); s != nil; s = x.candidate() {
		if f.sendTo(x, s, buf, now, e) {
			return
		}
	}
	if x.exhausted() {
		f.giveUp(x, e)
	}
}

// sendTo asks one server, and tells whether that was possible.
func (f *Forwarder) sendTo(x *exchange, s *server, buf []byte, now time.Time, e *effects) bool {
	a, err := f.attempt(x, s, now)
	if err != nil {
		s.missed(now, f.opt.Penalty)
		x.fail(s)
		x.unreachable = true
		return false
	}
	x.attempts = append(x.attempts, a)
	if len(x.attempts) > 1 {
		f.count.Retries++
	}
	f.steps.push(x, now.Add(f.opt.Step))
	f.setAlarm(now)
	message.SetID(buf, a.id)
	e.link, e.out = a.link, buf
	return true
}

// resend is send for an exchange whose question is nowhere else at hand.
func (f *Forwarder) resend(x *exchange, now time.Time, e *effects) {
	f.send(x, append([]byte(nil), x.msg...), now, e)
}
