package resolver

import "sync/atomic"

// Source tells who made a reply.
type Source uint8

// The sources.
const (
	Local   Source = iota // from our own knowledge
	Refused               // a refusal or failure of ours
)

// Counters count since the start.
type Counters struct {
	UDP, TCP  atomic.Uint64 // requests
	Dropped   atomic.Uint64 // got no answer, because they were no requests
	Forwarded atomic.Uint64
	// Replies that we made, by rcode and source. Others are forwarded ones.
	Replies [2][16]atomic.Uint64
}

// Counters of this resolver.
func (r *Resolver) Counters() *Counters { return &r.counters }

func (c *Counters) request(stream bool) {
	if stream {
		c.TCP.Add(1)
	} else {
		c.UDP.Add(1)
	}
}

// reply counts a message and returns it.
func (c *Counters) reply(msg []byte, source Source) []byte {
	c.Replies[source][msg[3]&0xf].Add(1)
	return msg
}

// Made is the number of replies from a source.
func (c *Counters) Made(source Source) (n uint64) {
	for rcode := range c.Replies[source] {
		n += c.Replies[source][rcode].Load()
	}
	return n
}
