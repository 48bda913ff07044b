package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A host that answers at once and has nothing new (its ledger can't be read, or it
// wishes us ill) is not asked again and again without a pause.
func TestAHostThatAnswersAtOnceIsNotFlooded(t *testing.T) {
	const questions = 5
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == questions {
			cancel()
		}
		fmt.Fprint(w, `{"generation":0,"names":[]}`)
	}))
	defer server.Close()
	began := time.Now()
	followPeer(ctx, netip.MustParseAddrPort(server.Listener.Addr().String()), "blue", func([]store.Names) {})
	if took := time.Since(began); took < (questions-1)*namesPause {
		t.Errorf("%d questions in %v, with %v between them", questions, took, namesPause)
	}
}

// What a host tells is its own, and of the network that it was asked for.
func TestAHostSpeaksForItself(t *testing.T) {
	a := &Agent{log: slog.New(slog.DiscardHandler)}
	at := []netip.Addr{netip.MustParseAddr("10.100.0.2")}
	got := a.credible([]store.Names{
		{Network: "blue", Node: "b", Container: "own", Addresses: at},
		{Network: "blue", Node: "c", Container: "another's", Addresses: at},
		{Network: "red", Node: "b", Container: "elsewhere", Addresses: at},
		{Network: "blue", Node: "b", Container: "nowhere", Addresses: []netip.Addr{{}}},
	}, "blue", "b")
	var seen []string
	for _, n := range got {
		seen = append(seen, n.Container+" of "+string(n.Node))
	}
	if want := []string{"own of b", "another's of b"}; !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
}
