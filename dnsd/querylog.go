package dnsd

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/listen"
	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// queryLogRate is how many requests a second are logged at most, whatever is
// asked of us: the log is for people, and must not fill a disk.
const queryLogRate = 20

// A queryLog logs one request in so many, and hands them all on. Names tell
// what people do, so there is none unless somebody asks for it.
type queryLog struct {
	next  listen.Handler
	log   *slog.Logger
	every uint64
	seen  atomic.Uint64
	rate  perSecond
}

// Handle implements listen.Handler.
func (q *queryLog) Handle(msg []byte, from resolver.Peer, scratch *resolver.Scratch) (reply []byte, later bool) {
	if q.seen.Add(1)%q.every != 0 {
		return q.next.Handle(msg, from, scratch)
	}
	var query message.Query // read first: the handler may modify the message
	kind := query.Parse(msg)
	reply, later = q.next.Handle(msg, from, scratch)
	left, ok := q.rate.take(time.Now())
	if !ok {
		return reply, later
	}
	args := []any{"client", from.Addr.Addr(), "listener", from.Listener, "result", fate(reply, later)}
	if kind == message.Valid {
		args = append(args, "name", names.Name(query.Name()), "type", dns.Type(query.Type))
	}
	if from.Stream {
		args = append(args, "transport", "tcp")
	}
	if left > 0 {
		args = append(args, "unlogged", left)
	}
	q.log.Info("query", args...)
	return reply, later
}

// fate is what became of a request.
func fate(reply []byte, later bool) string {
	switch {
	case later:
		return "forwarded"
	case len(reply) < message.HeaderLen:
		return "dropped"
	}
	return dns.RcodeToString[int(reply[3]&0xf)]
}

// perSecond lets so many pass in each second.
type perSecond struct {
	mu     sync.Mutex
	second int64
	passed int
	left   int // not passed since the last one that was
}

// take tells whether one may pass, and if so how many could not before it.
func (p *perSecond) take(now time.Time) (left int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := now.Unix(); s != p.second {
		p.second, p.passed = s, 0
	}
	if p.passed == queryLogRate {
		p.left++
		return 0, false
	}
	p.passed++
	left, p.left = p.left, 0
	return left, true
}
