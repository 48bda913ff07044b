// Package absence decides which host has been gone for so long that others may
// have its pools. It only watches and decides; the store carries it out, in a
// transaction that fails if the host came back (overlay specification 5.2,
// "reclaim").
//
// Nothing depends on a clock that can be set: how long a host was absent is
// measured by whoever watched it, on its own monotonic clock, and begins anew
// with each start of the watcher.
package absence

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A Watch remembers since when each host was seen absent. The zero value has
// seen none.
type Watch struct {
	since map[store.Absence]time.Time
}

// See takes in who is absent at a moment (time.Now, which has a reading of the
// monotonic clock). Who is not among them, or came back meanwhile and is
// therefore another absence, is forgotten.
func (w *Watch) See(now time.Time, absent []store.Absence) {
	since := make(map[store.Absence]time.Time, len(absent))
	for _, a := range absent {
		if before, known := w.since[a]; known {
			since[a] = before
		} else {
			since[a] = now
		}
	}
	w.since = since
}

// Due is who may be reclaimed now by the cluster's policy, and why: the host
// that was absent for longest, and has pools of a network that is nearly used
// up. false if there is none.
func (w *Watch) Due(now time.Time, v store.View) (due store.Absence, reason string, ok bool) {
	after, above, on := v.Cluster.ReclaimPolicy()
	if !on {
		return due, "", false
	}
	scarce := scarce(v, above)
	var oldest time.Time
	for a, since := range w.since {
		node, known := v.Node(a.ID)
		if !known || node.Revision != a.Record || now.Sub(since) < after {
			continue
		}
		network, has := firstOf(node, scarce)
		if !has || ok && cmp.Or(since.Compare(oldest), cmp.Compare(a.ID, due.ID)) > 0 {
			continue
		}
		due, oldest, ok = a, since, true
		reason = fmt.Sprintf("without a session for %v, while %d %% of the pools of network %s were in use",
			now.Sub(since).Round(time.Second), scarce[network], network.name)
	}
	return due, reason, ok
}

// A supply is the pools of one family in a network.
type supply struct {
	name string
	is4  bool
}

// scarce are the supplies of which so many percent and more are owned.
func scarce(v store.View, above int) map[supply]int {
	owned := map[supply]int{}
	for _, n := range v.Nodes {
		for network, pools := range n.Pools {
			for _, p := range pools {
				owned[supply{network, p.Addr().Is4()}]++
			}
		}
	}
	result := map[supply]int{}
	for s, count := range owned {
		n, ok := v.Network(s.name)
		if size := Size(n, s.is4); ok && size > 0 && count*100/size >= above {
			result[s] = count * 100 / size
		}
	}
	return result
}

// firstOf finds a supply that the node has a share of.
func firstOf(n store.Node, of map[supply]int) (supply, bool) {
	var all []supply
	for network, pools := range n.Pools {
		for _, is4 := range []bool{true, false} {
			_, scarce := of[supply{network, is4}]
			if scarce && slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 }) {
				all = append(all, supply{network, is4})
			}
		}
	}
	if len(all) == 0 {
		return supply{}, false
	}
	return slices.MinFunc(all, func(a, b supply) int { return cmp.Compare(a.name, b.name) }), true
}

// most is up to how many pools a network's are counted.
const most = 1 << 30

// Size is how many pools a network has of a family, or 0 for more than a
// billion, of which nobody needs to give any up.
func Size(n store.Network, is4 bool) int {
	size := 0
	for _, r := range n.Ranges {
		if r.Addr().Is4() != is4 {
			continue
		}
		pool := ipam.Pool{Prefix: r, Bits: n.PoolBits(is4)}
		if size += pool.Size(); size > most {
			return 0
		}
	}
	return size
}
