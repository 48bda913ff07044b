package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A store without names (a peers file) is for a few hosts. There each asks each
// other for its containers' names, by HTTP on the tunnel's address and the
// probes' port, which the fence opens to members only; an answer waits until
// there is something new. A host that does not answer for a while has none.

// What one host tells of its own.
type peerNames struct {
	Generation uint64        `json:"generation"`
	Names      []store.Names `json:"names"`
}

const (
	longPoll    = 10 * time.Second
	namesStale  = 30 * time.Second
	maxPeerBody = 4 << 20
)

// serveNames answers the others, until the tunnel's address changes.
func (a *Agent) serveNames(ctx context.Context, local netip.AddrPort) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", local.String())
	if err != nil {
		return fmt.Errorf("names for other hosts: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /names/{network}", func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !a.isMember(from.Addr().Unmap()) {
			http.Error(w, "not a member", http.StatusForbidden)
			return
		}
		since, _ := strconv.ParseUint(r.URL.Query().Get("since"), 10, 64)
		a.awaitChange(r.Context(), since)
		_ = json.NewEncoder(w).Encode(a.namesIn(r.PathValue("network")))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	_ = server.Serve(l)
	return ctx.Err()
}

// awaitChange waits until the ledger has gone on.
func (a *Agent) awaitChange(ctx context.Context, since uint64) {
	for deadline := time.Now().Add(longPoll); time.Now().Before(deadline); {
		generation, err := a.book.Generation()
		if err != nil || generation != since || !pause(ctx, namesPause) {
			return
		}
	}
}

func (a *Agent) namesIn(network string) peerNames {
	generation, _ := a.book.Generation()
	all, _ := a.localNames()
	p := peerNames{Generation: generation, Names: []store.Names{}}
	for key, n := range all {
		if key.network == network {
			p.Names = append(p.Names, n)
		}
	}
	return p
}

// followPeers asks every peer for its names in a network. Who they are it looks up
// when there is news, and now and then.
func (a *Agent) followPeers(ctx context.Context, network string, news bell) {
	var mu sync.Mutex
	known := map[netip.Addr][]store.Names{}
	update := func(peer netip.Addr, names []store.Names) {
		mu.Lock()
		defer mu.Unlock()
		known[peer] = names
		a.setRemotes(ctx, network, slices.Concat(slices.Collect(maps.Values(known))...))
	}
	running := map[netip.Addr]context.CancelFunc{}
	for {
		var peers []store.Node
		var local netip.Addr
		var port uint16
		a.with(func(s *state) {
			local, port = s.plan.Tunnel.Local, s.plan.Tunnel.Port+1
			if local.IsValid() {
				peers = plan.Peers(s.view, s.self.ID, local)
			}
		})
		now := map[netip.Addr]bool{}
		for _, n := range peers {
			vtep := plan.VTEP(n, local)
			now[vtep] = true
			if running[vtep] == nil {
				following, cancel := context.WithCancel(ctx)
				running[vtep] = cancel
				go followPeer(following, netip.AddrPortFrom(vtep, port), network, func(names []store.Names) {
					update(vtep, a.credible(names, network, n.ID))
				})
			}
		}
		for vtep, cancel := range maps.Clone(running) {
			if !now[vtep] {
				cancel()
				delete(running, vtep)
				update(vtep, nil)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-time.After(time.Second): // the tunnel's address is no news
		}
	}
}

// credible are names as the host's that told them, whatever it says whose they
// are, without what it has no say in.
func (a *Agent) credible(names []store.Names, network string, peer store.NodeID) []store.Names {
	for i := range names {
		names[i].Node = peer
	}
	return slices.DeleteFunc(names, func(n store.Names) bool {
		err := n.Check(network, peer)
		if err != nil {
			a.log.Warn("skipped names", "peer", peer, "error", err)
		}
		return err != nil
	})
}

// followPeer asks one host again and again. Its last answer holds while it is
// away for a short time. A host that does not wait until there is something new
// is not asked without a pause.
func followPeer(ctx context.Context, peer netip.AddrPort, network string, update func([]store.Names)) {
	client := &http.Client{Timeout: longPoll + 5*time.Second}
	defer client.CloseIdleConnections()
	var since uint64
	var b backoff
	heard := time.Now()
	for ctx.Err() == nil {
		p, err := askPeer(ctx, client, peer, network, since)
		if err == nil {
			b.reset()
			heard = time.Now()
			if p.Generation != since {
				since = p.Generation
				update(p.Names)
			}
			pause(ctx, namesPause)
			continue
		}
		if time.Since(heard) > namesStale && since != 0 {
			since = 0
			update(nil)
		}
		pause(ctx, b.next())
	}
}

func askPeer(ctx context.Context, client *http.Client, peer netip.AddrPort, network string, since uint64) (peerNames, error) {
	var p peerNames
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/names/%s?since=%d", peer, network, since), nil)
	if err != nil {
		return p, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("names of %s: %s", peer, resp.Status)
	}
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxPeerBody)).Decode(&p)
	return p, err
}
