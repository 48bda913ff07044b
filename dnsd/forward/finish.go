package forward

import (
	"time"

	"github.com/netctl/netctl/dnsd/message"
)

// received takes what a server sent over a link. It may modify it.
func (f *Forwarder) received(l link, msg []byte) {
	if len(msg) < message.HeaderLen {
		return
	}
	var e effects
	f.mu.Lock()
	// No exchange: the reply is late, a second one, or somebody's guess.
	if x := l.expected(message.ID(msg)); x != nil {
		f.judge(x, l.server(), msg, &e)
	}
	f.mu.Unlock()
	e.happen()
}

// judge decides what a datagram means for the exchange with its ID.
func (f *Forwarder) judge(x *exchange, s *server, msg []byte, e *effects) {
	rcode, match := message.ReadReply(msg, x.msg[message.HeaderLen:x.question])
	switch {
	case match == message.Unrelated:
		return
	case match == message.Garbled:
		f.failed(x, s, e)
		return
	}
	s.answered()
	if isFailure(rcode) {
		x.keepFailure(msg, rcode)
		f.failed(x, s, e)
		return
	}
	f.latency.observe(time.Since(x.started))
	f.finish(x, msg, e)
}

// isFailure tells of rcodes after which another server may know more.
func isFailure(rcode int) bool {
	switch rcode {
	case message.ServFail, message.Refused, message.NotImp, message.FormErr:
		return true
	}
	return false
}

// failed goes on to the next server at once.
func (f *Forwarder) failed(x *exchange, s *server, e *effects) {
	x.fail(s)
	switch {
	case x.tried < len(x.servers):
		f.resend(x, time.Now(), e)
	case x.exhausted():
		f.giveUp(x, e)
	}
}

// broken ends a link and its attempts: the network says that nobody is there.
func (f *Forwarder) broken(l link) {
	f.mu.Lock()
	hit := l.close()
	if len(hit) > 0 && !l.worked() {
		l.server().missed(time.Now(), f.opt.Penalty)
	}
	f.mu.Unlock()
	for _, x := range hit {
		var e effects
		f.mu.Lock()
		// It may have ended since, and even have been used anew; but never
		// again over this link.
		if x.waitsOn(l) {
			f.lost(x, l, &e)
		}
		f.mu.Unlock()
		e.happen()
	}
}

// maxLost is how often an exchange is sent to one server whose connections
// keep ending.
const maxLost = 4

// lost is what becomes of an exchange whose link broke. A server may end a
// connection at any time, and with it what it has not answered yet; it is asked
// again on another one (RFC 7766 section 6.2.4).
func (f *Forwarder) lost(x *exchange, l link, e *effects) {
	s := l.server()
	if l.worked() && x.attemptsAt(s) < maxLost {
		f.sendTo(x, s, append([]byte(nil), x.msg...), time.Now(), e)
		return
	}
	x.unreachable = true
	f.failed(x, s, e)
}

// giveUp ends an exchange with the best failure there is.
func (f *Forwarder) giveUp(x *exchange, e *effects) {
	f.count.Failed++
	if len(x.failure) > 0 {
		f.finish(x, append([]byte(nil), x.failure...), e)
		return
	}
	info := uint16(message.InfoNoReachable)
	if x.unreachable {
		info = message.InfoNetworkError
	}
	var q message.Query
	q.Parse(x.msg)
	f.finish(x, message.AppendFailure(nil, &q, x.msg, message.ServFail, info), e)
}

// finish ends an exchange with a reply.
func (f *Forwarder) finish(x *exchange, reply []byte, e *effects) {
	e.reply = message.ReturnReply(reply, x.msg[message.HeaderLen:x.question], x.asked)
	e.waiter, e.others = x.waiter, x.others
	f.dismiss(x.waiter.account)
	for _, w := range x.others {
		f.dismiss(w.account)
	}
	x.leave()
	f.steps.remove(x)
	f.ends.remove(x)
	if f.flying[x.key] == x {
		delete(f.flying, x.key)
	}
	x.recycle()
	if len(f.free) < maxFree {
		f.free = append(f.free, x)
	}
}
