package absence

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

const hour = int64(3600)

// view is a network of four pools, of which hosts a, b and c have one each and
// d two of another network that has plenty.
func view(after int64, above int) store.View {
	prefix := netip.MustParsePrefix
	node := func(id store.NodeID, revision store.Revision, network, pool string) store.Node {
		return store.Node{ID: id, Revision: revision, Pools: map[string][]netip.Prefix{network: {prefix(pool)}}}
	}
	return store.View{
		Cluster: store.Cluster{ReclaimAfter: after, ReclaimAbove: above},
		Networks: []store.Network{
			{Name: "plenty", Ranges: []netip.Prefix{prefix("10.2.0.0/16")}},
			{Name: "small", Ranges: []netip.Prefix{prefix("10.1.0.0/22")}},
		},
		Nodes: []store.Node{node("a", 1, "small", "10.1.0.0/24"), node("b", 2, "small", "10.1.1.0/24"), node("c", 3, "small", "10.1.2.0/24"),
			node("d", 4, "plenty", "10.2.0.0/24")},
	}
}

func absent(id store.NodeID, record, session store.Revision) store.Absence {
	return store.Absence{ID: id, Record: record, Session: session}
}

// TestWhoIsDue: each row is what was seen, hour by hour, and who may be
// reclaimed after that.
func TestWhoIsDue(t *testing.T) {
	a, b, c, d := absent("a", 1, 1), absent("b", 2, 2), absent("c", 3, 3), absent("d", 4, 4)
	none := []store.Absence{}
	for name, row := range map[string]struct {
		after int64
		above int
		seen  [][]store.Absence
		want  string
	}{
		"long enough":              {2 * hour, 75, [][]store.Absence{{a}, {a}, {a}}, "a"},
		"not long enough":          {3 * hour, 75, [][]store.Absence{{a}, {a}, {a}}, ""},
		"there is room":            {2 * hour, 76, [][]store.Absence{{a}, {a}, {a}}, ""},
		"room by default":          {2 * hour, 0, [][]store.Absence{{a}, {a}, {a}}, ""},
		"never":                    {-1, 1, [][]store.Absence{{a}, {a}, {a}}, ""},
		"72 hours by default":      {0, 75, [][]store.Absence{{a}, {a}, {a}}, ""},
		"was back between":         {2 * hour, 75, [][]store.Absence{{a}, none, {a}, {a}}, ""},
		"another session between":  {2 * hour, 75, [][]store.Absence{{a}, {absent("a", 1, 9)}, {absent("a", 1, 9)}}, ""},
		"the record has changed":   {2 * hour, 75, [][]store.Absence{{absent("a", 9, 9)}, {absent("a", 9, 9)}, {absent("a", 9, 9)}}, ""},
		"the longest first":        {hour, 75, [][]store.Absence{{c}, {a, c}, {a, b, c}}, "c"},
		"of two the same, the ID":  {hour, 75, [][]store.Absence{{c, b}, {c, b}}, "b"},
		"in nobody's way":          {hour, 75, [][]store.Absence{{d}, {d}, {d}}, ""},
		"the other is in the way":  {hour, 75, [][]store.Absence{{d}, {d, a}, {d, a}}, "a"},
		"gone from the view":       {hour, 75, [][]store.Absence{{absent("x", 1, 1)}, {absent("x", 1, 1)}}, ""},
		"nobody is absent":         {hour, 75, [][]store.Absence{none, none}, ""},
		"the first time it is new": {hour, 75, [][]store.Absence{{a}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var w Watch
			now := time.Now()
			for i, seen := range row.seen {
				if i > 0 {
					now = now.Add(time.Hour)
				}
				w.See(now, seen)
			}
			due, reason, ok := w.Due(now, view(row.after, row.above))
			if ok != (row.want != "") || string(due.ID) != row.want {
				t.Errorf("due is %q (%s), want %q", due.ID, reason, row.want)
			}
			if ok && !strings.Contains(reason, "75 % of the pools of network small") {
				t.Errorf("the reason is %q", reason)
			}
		})
	}
}

func TestSize(t *testing.T) {
	n := store.Network{Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/22"), netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd00::/32")}}
	if v4, v6 := Size(n, true), Size(n, false); v4 != 5 || v6 != 0 {
		t.Errorf("%d pools of IPv4 and %d of IPv6, want 5 and too many to count", v4, v6)
	}
}
