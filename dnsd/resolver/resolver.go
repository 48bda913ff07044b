package resolver

import (
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/netctl/netctl/dnsd/answer"
	"github.com/netctl/netctl/dnsd/forward"
	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
)

// Upstream knows the servers of the host.
type Upstream interface {
	// Servers are asked in this order; the slice never changes.
	Servers() []netip.Addr
	// ServesLocal tells whether the servers know a name under "local".
	ServesLocal(name []byte) bool
}

// HostAddresses knows which addresses are the host's own.
type HostAddresses interface {
	Contains(netip.Addr) bool
}

// Forwarder asks upstream servers.
type Forwarder interface {
	Ask(r forward.Request, scratch []byte) bool
}

// A Resolver answers requests. It is safe for concurrent use.
type Resolver struct {
	Writer   answer.Writer
	Upstream Upstream
	Host     HostAddresses
	Forward  Forwarder
	Log      *slog.Logger
	// Qualified keeps names of a single label, which no company's server has
	// as they are, from going upstream.
	Qualified bool

	snapshot atomic.Pointer[names.Snapshot]
	counters Counters
}

// Publish makes all requests from now on see a snapshot.
func (r *Resolver) Publish(s *names.Snapshot) { r.snapshot.Store(s) }

// Snapshot is the one that requests see.
func (r *Resolver) Snapshot() *names.Snapshot { return r.snapshot.Load() }

// A Peer is where a request came from.
type Peer struct {
	Listener names.Listener
	Addr     netip.AddrPort
	// Stream is TCP.
	Stream bool
	// Back takes replies that come later.
	Back forward.Back
}

// Scratch is memory for one request at a time; each worker has its own.
type Scratch struct {
	query message.Query
	out   []byte
}

// NewScratch makes a scratch with room for any UDP message of ours. The few
// longer ones, over TCP, bring their own.
func NewScratch() *Scratch { return &Scratch{out: make([]byte, 0, 2*message.UDPSize)} }

// Handle answers a request. The reply is valid until the scratch is used
// again, and nil if there is none. If it comes later, exactly one will come
// through the peer's Back.
func (r *Resolver) Handle(msg []byte, from Peer, scratch *Scratch) (reply []byte, later bool) {
	q, out := &scratch.query, scratch.out[:0]
	r.counters.request(from.Stream)
	switch q.Parse(msg) {
	case message.Drop:
		r.counters.Dropped.Add(1)
		return nil, false
	case message.Malformed:
		return r.counters.reply(message.AppendHeader(out, q, message.FormErr), Local), false
	case message.Unsupported:
		return r.counters.reply(message.AppendHeader(out, q, message.NotImp), Local), false
	}
	s := r.snapshot.Load()
	c := r.client(s, from)
	switch {
	case c == nil:
		return r.fail(out, q, msg, message.Refused, message.InfoProhibited), false
	case q.Version != 0:
		return r.fail(out, q, msg, message.BadVers, message.NoInfo), false
	case q.Class != message.ClassINET, q.Type == message.TypeAXFR, q.Type == message.TypeIXFR:
		return r.fail(out, q, msg, message.Refused, message.InfoNotSupported), false
	}
	return r.resolve(s, c, msg, from, scratch)
}

// client is who asks, or nil if that is nobody who may.
func (r *Resolver) client(s *names.Snapshot, from Peer) *names.Client {
	addr := from.Addr.Addr()
	if c := s.Client(from.Listener, addr); c != nil {
		return c
	}
	if addr == from.Listener.Gateway || r.Host.Contains(addr) {
		return s.Host(from.Listener)
	}
	return nil
}

// resolve answers a well-formed question of a known client.
func (r *Resolver) resolve(s *names.Snapshot, c *names.Client, msg []byte, from Peer, scratch *Scratch) (reply []byte, later bool) {
	q := &scratch.query
	d := r.decide(s, c, q.Name())
	switch {
	case d.Answer.Kind != names.Foreign:
		return r.answer(s, d, msg, from, scratch), false
	case len(d.Servers) == 0:
		return r.fail(scratch.out[:0], q, msg, message.ServFail, message.InfoNoReachable), false
	}
	r.counters.Forwarded.Add(1)
	req := forward.Request{Query: q, Msg: msg, Servers: d.Servers, Client: from.Addr, Stream: from.Stream, Back: from.Back}
	if from.Listener.Container != "" { // all of these ask from the same address
		req.Account = c.Address()
	}
	later = r.Forward.Ask(req, scratch.out[:0])
	if !later {
		reply = r.fail(scratch.out[:0], q, msg, message.Refused, message.InfoOther)
	}
	return reply, later
}

func (r *Resolver) answer(s *names.Snapshot, d Decision, msg []byte, from Peer, scratch *Scratch) []byte {
	w := r.Writer
	w.Serial = uint32(s.Generation)
	limit := scratch.query.Limit()
	if from.Stream {
		limit = message.MaxSize
	}
	out, err := w.Append(scratch.out[:0], answer.Question{
		Query: &scratch.query, Msg: msg, Answer: d.Answer, Limit: limit, Info: d.Info,
	})
	if err != nil {
		r.Log.Error("write a reply", "err", err)
		return r.fail(scratch.out[:0], &scratch.query, msg, message.ServFail, message.InfoOther)
	}
	return r.counters.reply(out, Local)
}

func (r *Resolver) fail(out []byte, q *message.Query, msg []byte, rcode int, info uint16) []byte {
	return r.counters.reply(message.AppendFailure(out, q, msg, rcode, info), Refused)
}
