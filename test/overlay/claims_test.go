package overlay

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// Row 17, with hosts: eight start at the same instant in a network that has
// pools for four more. Four get one each, four none, and say why where people
// and runtimes look. A further range is for these.
func TestMoreHostsThanPools(t *testing.T) {
	const starting, free, total = 8, 4, 64
	w := hosts.New(t, binaries, starting)
	e := w.StartEtcd()
	e.Populate("blue", netip.MustParsePrefix("10.64.0.0/18"), total-free) // /24 each
	for _, h := range w.Hosts {
		h.StartWithEtcd()
	}
	usable, without := settled(t, w, e, total)
	if len(usable) != free || len(without) != starting-free {
		t.Fatalf("%d hosts got a pool and %d none, want %d and %d", len(usable), len(without), free, starting-free)
	}
	ownersAgree(t, e, usable, total)
	why := fmt.Sprintf("network blue is exhausted: all %d pools of [10.64.0.0/18] are owned by %d nodes (", total, total)
	dead := fmt.Sprintf("), %d of which are not alive (host-0000, host-0001, host-0002, host-0003, host-0004 and %d more): reclaim one of them, or add a range", total-free, total-free-5)
	definition, err := os.ReadFile(filepath.Join(usable[0].ConfDir(), "blue.conflist"))
	must(t, err)
	for _, h := range without {
		s := h.Ready(total - 1 + starting - free)
		if said := s.Networks[0].Exhausted; !strings.HasPrefix(said, why) || !strings.HasSuffix(said, dead) || s.Networks[0].Free != 0 {
			t.Errorf("status of %s says %q, %d free; want %q...%q", h.Name, said, s.Networks[0].Free, why, dead)
		}
		// A runtime has no network there, unless somebody gave it one by hand.
		if _, err := os.Stat(filepath.Join(h.ConfDir(), "blue.conflist")); !os.IsNotExist(err) {
			t.Errorf("%s has the definition of a network that it can't use: %v", h.Name, err)
		}
		must(t, os.MkdirAll(h.ConfDir(), 0o755))
		must(t, os.WriteFile(filepath.Join(h.ConfDir(), "blue.conflist"), []byte(strings.Replace(string(definition), `"managedBy": "overlayd",`, "", 1)), 0o644))
		// The plugin is told by the pass after the decision.
		eventually(t, "STATUS on "+h.Name+" answers with code 50 and "+why, func() bool {
			err := h.Status("blue")
			return err != nil && strings.Contains(err.Error(), why) && (strings.Contains(err.Error(), `"code": 50`) || strings.Contains(err.Error(), `"code":50`))
		})
	}
	must(t, without[0].Control().Extend(t.Context(), "blue", netip.MustParsePrefix("10.65.0.0/22")))
	for _, h := range without {
		awaitUsable(h, "blue", total+starting-free)
	}
	ownersAgree(t, e, w.Hosts, total+starting-free)
	_, err = without[0].Add("blue").Await(usable[0].Add("blue").Addr)
	must(t, err)
}

// settled waits until all pools are owned, and each host knows what it has by
// the store's word, or that there is none for it.
func settled(t *testing.T, w *hosts.World, e *hosts.Etcd, pools int) (usable, without []*hosts.Host) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d pools are owned", pools), func() bool { return len(e.Keys("pool/blue/")) == pools })
	owners := e.Values()
	for _, h := range w.Hosts {
		s := h.Await("decided", func(s control.Status) bool {
			if !s.Ready || len(s.Networks) != 1 || s.Networks[0].Free != s.Networks[0].Total-pools {
				return false
			}
			owned := 0
			for key, value := range owners {
				if strings.HasPrefix(key, "pool/blue/") && strings.Contains(value, s.ID) {
					owned++
				}
			}
			n := s.Networks[0]
			return len(n.Pools) == owned && (owned > 0) == (n.Exhausted == "")
		})
		if len(s.Networks[0].Pools) > 0 {
			usable = append(usable, h)
		} else {
			without = append(without, h)
		}
	}
	return usable, without
}

// ownersAgree compares what these hosts believe to be theirs with what the store
// says: nothing is two hosts', and all pools are somebody's.
func ownersAgree(t *testing.T, e *hosts.Etcd, all []*hosts.Host, pools int) {
	t.Helper()
	values := e.Values()
	keys := e.Keys("pool/blue/")
	if len(keys) != pools {
		t.Errorf("%d pools are owned in the store, want %d", len(keys), pools)
	}
	taken := map[netip.Prefix]string{}
	for _, h := range all {
		s := h.Await("a member", func(s control.Status) bool { return s.Degraded == "" && len(s.Networks) == 1 })
		for _, pool := range s.Networks[0].Pools {
			if other, twice := taken[pool]; twice {
				t.Errorf("%s and %s both have %s", other, h.Name, pool)
			}
			taken[pool] = h.Name
			key := fmt.Sprintf("pool/blue/%x-%d", pool.Addr().AsSlice(), pool.Bits())
			if !slices.Contains(keys, key) || !strings.Contains(values[key], s.ID) {
				t.Errorf("%s believes that %s is its own; %s in the store says %q", h.Name, pool, key, values[key])
			}
		}
	}
}
