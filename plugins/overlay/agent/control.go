package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// drainWait is how long the removal of a network waits for the hosts to give
// their pools back.
const drainWait = 10 * time.Second

// listenControl opens the socket. One that is there already is of an agent that
// was killed: the lock says that no other runs.
func (a *Agent) listenControl() (net.Listener, error) {
	path := control.Socket(a.cfg.StateDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

func (a *Agent) serveControl(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	answer := func(pattern string, fn func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { reply(w, r, fn) })
	}
	left := make(chan struct{})
	answer("GET /status", func(r *http.Request) (any, error) { return a.status(r.Context()), nil })
	answer("GET /doctor", func(r *http.Request) (any, error) { return a.doctor(r.Context()) })
	answer("POST /networks", func(r *http.Request) (any, error) { return nil, a.createNetwork(r) })
	answer("POST /networks/{name}/ranges", func(r *http.Request) (any, error) { return nil, a.extendNetwork(r) })
	answer("DELETE /networks/{name}", func(r *http.Request) (any, error) { return nil, a.removeNetwork(r.Context(), r.PathValue("name")) })
	answer("POST /reclaim/{node}", func(r *http.Request) (any, error) { return a.reclaim(r.Context(), r.PathValue("node")) })
	answer("POST /prune", func(r *http.Request) (any, error) { return a.prune(r) })
	answer("POST /policy", func(r *http.Request) (any, error) { return a.changePolicy(r) })
	answer("POST /migrate", func(r *http.Request) (any, error) { return a.migrate(r) })
	answer("POST /confirm", func(r *http.Request) (any, error) { return nil, a.confirm(r.Context()) })
	answer("POST /leave", func(r *http.Request) (any, error) {
		err := a.leave(r.Context())
		if err == nil {
			time.AfterFunc(100*time.Millisecond, func() { close(left) }) // after the answer
		}
		return nil, err
	})
	mux.HandleFunc("GET /metrics", a.handleMetrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	go func() { _ = server.Serve(l) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-left:
		return errLeft
	}
}

// errLeft ends the agent after the host has left.
var errLeft = errors.New("this host has left the overlay")

func reply(w http.ResponseWriter, r *http.Request, fn func(*http.Request) (any, error)) {
	w.Header().Set("Content-Type", "application/json")
	value, err := fn(r)
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		value = control.Error{Message: err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value)
}

// createNetwork enters a network, and returns when this host can use it.
func (a *Agent) createNetwork(r *http.Request) error {
	var c control.CreateNetwork
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		return fmt.Errorf("create network: %w", err)
	}
	fast, err := store.ParseFastPath(c.FastPath)
	if err != nil {
		return fmt.Errorf("create network %s: option fast_path: %w", c.Name, err)
	}
	n := store.Network{Schema: store.Schema, Name: c.Name, Ranges: c.Ranges, PoolBits4: c.PoolBits4, PoolBits6: c.PoolBits6,
		Open: c.Open, FastPath: fast, Definition: c.Definition, Created: time.Now().UTC().Truncate(time.Second)}
	if err := a.aroundNobody(n); err != nil {
		return err
	}
	if _, err := a.cfg.Store.CreateNetwork(r.Context(), n); err != nil {
		return err
	}
	return a.await(r.Context(), drainWait, func() error {
		used, err := a.definitions()
		if err != nil {
			return err
		}
		if _, ok := used[c.Name]; ok {
			return nil
		}
		var err2 error
		a.with(func(s *state) { err2 = s.exhausted[c.Name] })
		if err2 != nil {
			return err2
		}
		return fmt.Errorf("network %s is made, but this host has no pool of it yet: see netctl overlay status", c.Name)
	})
}

// aroundNobody refuses a network with a host's tunnel address in it. The host that
// is asked to make it knows its own routes, and not those of the others.
func (a *Agent) aroundNobody(n store.Network) (err error) {
	a.with(func(s *state) {
		for _, node := range s.view.Nodes {
			for _, vtep := range node.VTEP {
				if r, around := n.Around(vtep); around {
					err = fmt.Errorf("create network %s: the range %s has the tunnel address %s of host %s in it: choose another one", n.Name, r, vtep, node.Name)
				}
			}
		}
	})
	return err
}

// await asks until there is no error, or the time is over; the last error is
// the answer.
func (a *Agent) await(ctx context.Context, limit time.Duration, ok func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil || time.Now().After(deadline) || !pause(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

func (a *Agent) network(name string) (store.Network, error) {
	var n store.Network
	var ok bool
	var known []string
	a.with(func(s *state) {
		n, ok = s.view.Network(name)
		for _, other := range s.view.Networks {
			known = append(known, other.Name)
		}
	})
	if !ok {
		return n, fmt.Errorf("network %s is not an overlay network (known: %s)", name, strings.Join(known, ", "))
	}
	return n, nil
}

// extendNetwork adds a range, and returns when this host gives addresses out
// again, if it was without.
func (a *Agent) extendNetwork(r *http.Request) error {
	var more netip.Prefix
	if err := json.NewDecoder(r.Body).Decode(&more); err != nil {
		return fmt.Errorf("extend network: %w", err)
	}
	n, err := a.network(r.PathValue("name"))
	if err != nil {
		return err
	}
	n.Ranges = append(slices.Clone(n.Ranges), more)
	if _, err = a.cfg.Store.UpdateNetwork(r.Context(), n); err != nil {
		return err
	}
	return a.await(r.Context(), drainWait, func() error {
		share, err := handover.Read(a.cfg.StateDir, n.Name)
		if err != nil || share.Exhausted == "" { // no file: this host needs no pool
			return nil
		}
		return fmt.Errorf("network %s has range %s, but this host got no pool of it yet: see netctl overlay status", n.Name, more)
	})
}

// removeNetwork has every host give its pools back, and takes the network away
// when all have. A host with containers in it keeps its pools: then nothing is
// removed, and the error says which host that is.
func (a *Agent) removeNetwork(ctx context.Context, name string) error {
	n, err := a.network(name)
	if err != nil {
		return err
	}
	if used, err := a.attachments(name); err != nil || len(used) > 0 {
		if err == nil {
			err = fmt.Errorf("network %s is in use on this host: by container %s and %d more", name, used[0].Container, len(used)-1)
		}
		return err
	}
	n.Leaving = true
	if n, err = a.cfg.Store.UpdateNetwork(ctx, n); err != nil {
		return err
	}
	err = a.await(ctx, drainWait, func() error { return a.cfg.Store.RemoveNetwork(ctx, name) })
	if err == nil {
		return a.await(ctx, drainWait, func() error {
			have, err := a.definitions()
			if _, there := have[name]; there && err == nil {
				err = fmt.Errorf("network %s is removed, but its definition is still in %s", name, a.cfg.ConfDir)
			}
			return err
		})
	}
	n.Leaving = false
	if _, undo := a.cfg.Store.UpdateNetwork(context.WithoutCancel(ctx), n); undo != nil {
		return errors.Join(err, fmt.Errorf("the network stays marked as leaving: %w", undo))
	}
	return err
}

// leave gives everything back and takes the tunnel away. It refuses while
// containers are in overlay networks.
func (a *Agent) leave(ctx context.Context) error {
	members, err := a.memberships()
	if err != nil {
		return err
	}
	for network := range members {
		return fmt.Errorf("containers of this host are in network %s: remove them first", network)
	}
	var session store.Session
	a.with(func(s *state) { session, s.left = s.session, s.session != nil })
	if session == nil {
		return fmt.Errorf("leave: %w", store.ErrUnreachable)
	}
	if err := session.Leave(ctx); err != nil {
		a.with(func(s *state) { s.left = false })
		return err
	}
	a.with(func(s *state) {
		s.memory.Owned, s.memory.Lost, s.memory.Cluster = nil, nil, ""
		s.memory.Epoch++
		s.memory.Safe = false
		s.view, s.seen, s.live = store.View{Schema: store.Schema}, false, false
	})
	err = a.saveMemory()
	_ = os.Remove(a.sessionFile())
	return errors.Join(err, a.dismantleIf(true), saveSnapshot(a.dir, store.View{Schema: store.Schema}))
}

// confirm ends the safe mode: what the store says when it is listed now is all
// that there is.
func (a *Agent) confirm(ctx context.Context) error {
	safe := false
	a.with(func(s *state) { safe, s.confirming = s.memory.Safe, s.memory.Safe })
	if !safe {
		return nil
	}
	a.again.ring()
	err := a.await(ctx, drainWait, func() error {
		var waiting bool
		var trouble error
		a.with(func(s *state) { waiting, trouble = s.confirming, s.trouble })
		if !waiting {
			return nil
		}
		return fmt.Errorf("the store was not heard, nothing is confirmed: %w", cmp.Or(trouble, store.ErrUnreachable))
	})
	a.with(func(s *state) { s.confirming = false })
	a.dirty.ring()
	a.member.ring()
	return err
}
