package agent

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"time"
)

// How the heap is kept. A start makes much that is not needed after it (with
// 1,000 peers some 20 MB: what etcd sent, records decoded, messages for the
// kernel) while a host waits to be a member; collecting it meanwhile took a tenth
// of the start's processor time. What is needed in the long run is little, and
// overlayd has little to do, so that it may be kept tight.
const (
	startLimit = 64 << 20 // bytes from which on even a start collects
	startMost  = 10 * time.Second
	lastingGC  = 40 // percent of growth between collections; Go's own is 100
)

// sparingHeap puts the collector off until the start is over, and then keeps the
// heap small and gives back what the start needed. Whoever sets GOGC or
// GOMEMLIMIT knows better.
func sparingHeap(ctx context.Context, started <-chan struct{}) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(startLimit)
	debug.SetGCPercent(-1)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-started:
		case <-time.After(startMost):
		}
		debug.SetGCPercent(lastingGC)
		debug.SetMemoryLimit(math.MaxInt64)
		debug.FreeOSMemory()
	}()
}
