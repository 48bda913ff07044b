package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// namesPause gathers changes of names into one write.
const namesPause = 20 * time.Millisecond

type nameKey struct{ network, container string }

// publishNames keeps what this host's containers are called in the store, for
// as long as the session lives. Kinds that have no names have them exchanged
// between the hosts (peernames.go).
func (a *Agent) publishNames(ctx context.Context) error {
	if !a.cfg.Store.Can().Names {
		<-ctx.Done()
		return ctx.Err()
	}
	published := map[nameKey]store.Names{}
	by := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.names:
		}
		var session store.Session
		a.with(func(s *state) { session = s.session })
		if session == nil {
			continue // the member loop tells when there is one
		}
		if by != session.ID() { // the old ones went with their session
			published, by = map[nameKey]store.Names{}, session.ID()
		}
		if err := a.publishDifferences(ctx, session, published); err != nil && ctx.Err() == nil {
			a.log.Warn("names not published, trying again", "error", err)
			time.AfterFunc(longWait, a.names.ring)
		}
		if !pause(ctx, namesPause) {
			return ctx.Err()
		}
	}
}

func (a *Agent) publishDifferences(ctx context.Context, session store.Session, published map[nameKey]store.Names) error {
	want, err := a.localNames()
	if err != nil {
		return err
	}
	for key, names := range want {
		if reflect.DeepEqual(published[key], names) {
			continue
		}
		if err := session.PutNames(ctx, names); err != nil {
			return err
		}
		published[key] = names
	}
	for key := range published {
		if _, ok := want[key]; ok {
			continue
		}
		if err := session.DeleteNames(ctx, key.network, key.container); err != nil {
			return err
		}
		delete(published, key)
	}
	return nil
}

// localNames are those of this host's containers in overlay networks, without
// the containers of lost pools, which nobody else can reach.
func (a *Agent) localNames() (map[nameKey]store.Names, error) {
	var networks map[string]bool
	var self store.NodeID
	var lost []store.Claim
	a.with(func(s *state) {
		networks, self, lost = map[string]bool{}, s.self.ID, s.memory.Lost
		for _, n := range s.view.Networks {
			networks[n.Name] = true
		}
	})
	records, err := a.attachments("")
	if err != nil {
		return nil, err
	}
	want := map[nameKey]store.Names{}
	for _, r := range records {
		if !networks[r.Network] || r.Names.IsZero() {
			continue
		}
		n := store.Names{Schema: store.Schema, Network: r.Network, Node: self, Container: r.Container, Own: r.Names.Own, Hostname: r.Names.Hostname}
		for _, address := range r.Addresses {
			if !slices.ContainsFunc(lost, func(c store.Claim) bool { return c.Pool.Contains(address.Prefix.Addr()) }) {
				n.Addresses = append(n.Addresses, address.Prefix.Addr())
			}
		}
		if len(n.Addresses) > 0 {
			want[nameKey{r.Network, r.Container}] = n
		}
	}
	return want, nil
}

// mirrorNames keeps the other hosts' names in the ledger, of those networks in
// which this host has a container. While the store is down the last known ones
// stay.
func (a *Agent) mirrorNames(ctx context.Context) error {
	follow := a.followStore
	if !a.cfg.Store.Can().Names {
		follow = a.followPeers
	}
	type follower struct {
		stop context.CancelFunc
		news bell
	}
	running := map[string]follower{}
	var done sync.WaitGroup
	defer done.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.mirror:
		}
		for _, f := range running {
			f.news.ring()
		}
		members, err := a.memberships()
		if err != nil {
			continue
		}
		for network := range members {
			if _, follows := running[network]; !follows {
				following, stop := context.WithCancel(ctx)
				f := follower{stop, newBell()}
				running[network] = f
				done.Go(func() { follow(following, network, f.news) })
			}
		}
		for network, f := range maps.Clone(running) {
			if !members[network] {
				f.stop()
				delete(running, network)
				a.setRemotes(ctx, network, nil)
			}
		}
	}
}

// memberships are the overlay networks with a container here.
func (a *Agent) memberships() (map[string]bool, error) {
	records, err := a.attachments("")
	if err != nil {
		return nil, err
	}
	members := map[string]bool{}
	a.with(func(s *state) {
		for _, r := range records {
			if _, ok := s.view.Network(r.Network); ok {
				members[r.Network] = true
			}
		}
	})
	return members, nil
}

func (a *Agent) followStore(ctx context.Context, network string, _ bell) {
	var b backoff
	for ctx.Err() == nil {
		err := a.cfg.Store.WatchNames(ctx, network, func(all []store.Names) {
			b.reset()
			a.setRemotes(ctx, network, all)
		})
		if ctx.Err() == nil {
			a.log.Warn("not following names, trying again", "network", network, "error", err)
			pause(ctx, b.next())
		}
	}
}

// setRemotes writes the names into the ledger, and tells the resolver.
func (a *Agent) setRemotes(ctx context.Context, network string, all []store.Names) {
	var self store.NodeID
	names := map[store.NodeID]string{}
	a.with(func(s *state) {
		self = s.self.ID
		for _, n := range s.view.Nodes {
			names[n.ID] = n.Name
		}
	})
	var records []ledger.Record
	for _, n := range all {
		if n.Node != self {
			records = append(records, remoteRecord(n, names[n.Node]))
		}
	}
	var generation uint64
	changed := false
	err := a.book.Update(func(tx *ledger.Tx) (err error) {
		changed, err = tx.SetRemotes(network, records)
		generation = tx.Generation()
		return err
	})
	if err != nil {
		a.log.Error("names of other hosts not entered", "network", network, "error", err)
		return
	}
	if !changed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	if _, err := client.Do(ctx, a.cfg.StateDir, fmt.Sprintf("sync %d", generation)); err != nil && !errors.Is(err, client.ErrNotRunning) && ctx.Err() == nil {
		a.log.Warn("the resolver did not take the names of other hosts", "network", network, "error", err)
	}
}

func remoteRecord(n store.Names, node string) ledger.Record {
	if node == "" {
		node = string(n.Node)
	}
	r := ledger.Record{Key: ledger.Remote(n.Network, string(n.Node), n.Container), Plugin: "overlay",
		Names: ledger.Names{Own: n.Own, Hostname: n.Hostname, Remote: node}}
	for _, addr := range n.Addresses {
		r.Addresses = append(r.Addresses, ledger.Address{Prefix: netip.PrefixFrom(addr, addr.BitLen())})
	}
	return r
}
