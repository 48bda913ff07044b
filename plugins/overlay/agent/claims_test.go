package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// An exhaustedStore counts how often it is asked for a pool, and has none.
type exhaustedStore struct {
	store.Session
	asked int
}

func (e *exhaustedStore) Claim(context.Context, store.ClaimRequest) (store.Claim, error) {
	e.asked++
	return store.Claim{}, &store.ExhaustedError{Network: "blue"}
}

// A host that waits for a pool asks the store when somebody may have given one
// back, and now and then, and not at each change of any host.
func TestAHostThatWaitsForAPoolDoesNotAskAllTheTime(t *testing.T) {
	book, err := ledger.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	blue := store.Network{Name: "blue", Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/23")}}
	pools := func(all ...string) map[string][]netip.Prefix {
		m := map[string][]netip.Prefix{}
		for _, p := range all {
			m["blue"] = append(m["blue"], netip.MustParsePrefix(p))
		}
		return m
	}
	synctest.Test(t, func(t *testing.T) {
		a := &Agent{book: book, log: slog.New(slog.DiscardHandler), dirty: newBell()}
		a.state.exhausted, a.state.asked = map[string]error{}, map[lack]time.Time{}
		e := &exhaustedStore{}
		for _, step := range []struct {
			when  string
			after time.Duration
			nodes []store.Node
			asked bool
		}{
			{"the first time", 0, []store.Node{{Pools: pools("10.100.0.0/24", "10.100.1.0/24")}}, true},
			{"after a change of a host", time.Second, []store.Node{{MTU: 1400, Pools: pools("10.100.0.0/24", "10.100.1.0/24")}}, false},
			{"when a pool seems to be free", time.Second, []store.Node{{Pools: pools("10.100.0.0/24")}}, true},
			{"when it is somebody's", time.Second, []store.Node{{Pools: pools("10.100.0.0/24")}, {Pools: pools("10.100.1.0/24")}}, false},
			{"at the next audit", audit - 2*time.Second, []store.Node{{Pools: pools("10.100.0.0/24")}, {Pools: pools("10.100.1.0/24")}}, true},
		} {
			time.Sleep(step.after)
			a.with(func(s *state) { s.view = store.View{Networks: []store.Network{blue}, Nodes: step.nodes} })
			before := e.asked
			if err := a.claimFor(t.Context(), e, blue); err != nil {
				t.Fatal(err)
			}
			if asked := e.asked > before; asked != step.asked {
				t.Errorf("%s the store was asked: %v, want %v", step.when, asked, step.asked)
			}
		}
	})
}
