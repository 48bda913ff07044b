package forward

import (
	"net/netip"
	"slices"
	"time"
)

// ServerState is how an upstream server has been doing.
type ServerState struct {
	Server netip.AddrPort `json:"server"`
	// Misses are the questions in a row that it left unanswered.
	Misses int `json:"misses"`
	// Last tells that it is asked after all others for a while.
	Last bool `json:"last,omitempty"`
	// Waiting are the questions that it has not answered yet.
	Waiting int `json:"waiting"`
}

// Stats are the counters, the times that exchanges took, and the servers in
// use, in order of address.
func (f *Forwarder) Stats() (Counters, Histogram, []ServerState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.count
	c.InFlight = f.total
	now := time.Now()
	states := make([]ServerState, 0, len(f.servers))
	for _, s := range f.servers {
		states = append(states, ServerState{Server: s.addr, Misses: s.misses, Last: s.lastUntil.After(now), Waiting: s.waiting()})
	}
	slices.SortFunc(states, func(a, b ServerState) int { return a.Server.Compare(b.Server) })
	return c, f.latency, states
}

func (s *server) waiting() int {
	n := 0
	for _, l := range s.udp {
		if l != nil {
			n += len(l.waiting)
		}
	}
	for l := range s.retired {
		n += len(l.waiting)
	}
	for _, l := range s.tcp {
		n += len(l.waiting)
	}
	return n
}
