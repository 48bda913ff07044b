package etcd

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// A store that is put back to a backup, or another one in its place, is not
// noticed by those who follow it: the library's streams go on at the revision
// where they were, and a lease that the backup has is renewed. So whoever
// follows lists again when there was no connection to any member for a moment,
// and when an answer is older than one before it. The list tells what it was.

// A trust is what follows a list: that its stream is the same history's.
type trust struct {
	store *Store
	epoch int64
	// gone is closed when the trust is. What comes over another connection comes
	// after broken says so.
	gone <-chan struct{}
}

func (t trust) broken() bool { return t.store.conns.epoch.Load() != t.epoch }

// trust begins before a list.
func (s *Store) trust() trust {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return trust{store: s, epoch: s.conns.epoch.Load(), gone: s.conns.doubts}
}

// heard notes how far the store is. An answer to what was asked after revision
// floor was known is not older, unless the store has gone back, or a member of a
// cluster lags behind.
func (s *Store) heard(revision, floor int64) (back bool) {
	for {
		newest := s.newest.Load()
		if revision <= newest || s.newest.CompareAndSwap(newest, revision) {
			break
		}
	}
	if revision >= floor {
		return false
	}
	s.newest.Store(revision)
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	s.conns.doubt()
	return true
}

// connections are those to all members.
type connections struct {
	// epoch is how often a first one was made.
	epoch atomic.Int64

	mu     sync.Mutex
	live   int
	doubts chan struct{} // closed and replaced by doubt
}

var _ stats.Handler = (*connections)(nil)

func newConnections() *connections { return &connections{doubts: make(chan struct{})} }

// doubt is called with the lock held.
func (c *connections) doubt() {
	close(c.doubts)
	c.doubts = make(chan struct{})
}

// HandleConn is called before anything passes over a connection, and at its end.
func (c *connections) HandleConn(_ context.Context, s stats.ConnStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		if c.live == 0 {
			c.epoch.Add(1)
			c.doubt()
		}
		c.live++
	case *stats.ConnEnd:
		c.live--
	}
}

// TagConn has nothing to do.
func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC has nothing to do.
func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC has nothing to do.
func (c *connections) HandleRPC(context.Context, stats.RPCStats) {}
