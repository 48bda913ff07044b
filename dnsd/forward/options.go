package forward

import (
	"net/netip"
	"time"

	"github.com/netctl/netctl/dnsd/message"
)

// Port is where upstream servers listen.
const Port = 53

// Options are the times and limits. The zero value of each means its default.
type Options struct {
	// Step [1s] is how long a server may take until the next one is asked too.
	Step time.Duration
	// Deadline [4.5s] is when an exchange is given up.
	Deadline time.Duration
	// Penalty [10s] is how long a server that failed twice is asked last.
	Penalty time.Duration
	// PerClient [1024] and Total [8192] limit the questions under way.
	// Whoever exceeds them is refused at once; nothing queues.
	PerClient, Total int
	// Port [53] of the servers; tests use another.
	Port uint16
}

func (o Options) withDefaults() Options {
	setDefault(&o.Step, time.Second)
	setDefault(&o.Deadline, 4500*time.Millisecond)
	setDefault(&o.Penalty, 10*time.Second)
	setDefault(&o.PerClient, 1024)
	setDefault(&o.Total, 8192)
	setDefault(&o.Port, Port)
	return o
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// A Back takes a reply to where its question came from. It must not block, and
// not keep the reply.
type Back interface {
	SendReply(reply []byte, to netip.AddrPort)
}

// A Request is a question to be forwarded. Nothing of it is kept after Ask but
// Servers and Back.
type Request struct {
	// Query is the request as read, Msg its bytes.
	Query *message.Query
	Msg   []byte
	// Servers in the order in which to ask. The slice must not change.
	Servers []netip.Addr
	Client  netip.AddrPort
	// Account [the client's address] is on whose account the question goes.
	Account netip.Addr
	// Stream is a request that came over TCP, and goes over TCP.
	Stream bool
	Back   Back
}

func (r Request) account() netip.Addr {
	if r.Account.IsValid() {
		return r.Account
	}
	return r.Client.Addr()
}

// Counters tell what happened since the start.
type Counters struct {
	Exchanges uint64 // asked of a server
	Shared    uint64 // waited for somebody else's exchange
	Refused   uint64 // over a limit
	Retries   uint64 // asked of a further server
	TimedOut  uint64 // given up without any reply
	Failed    uint64 // ended with a server's failure, or none reachable
	InFlight  int
}
