package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
)

// status is what people are shown.
func (a *Agent) status(ctx context.Context) control.Status {
	alive := a.alive(ctx)
	records, _ := a.attachments("")
	var st control.Status
	a.with(func(s *state) {
		st = control.Status{
			Node: a.cfg.Name, ID: string(s.self.ID), VTEP: s.local, MTU: s.plan.MTU,
			Store: a.cfg.Store.Kind(), Cluster: string(s.view.Cluster.ID), Revision: int64(s.view.Revision),
			Ready: s.ready, Degraded: s.degraded(), Safe: s.memory.Safe,
			Networks: []control.Network{}, Peers: []control.Peer{},
			Passes: control.Passes{Count: s.passes.Count, Writes: s.passes.Writes, Failures: s.passes.Failures,
				LastMS: float64(s.passes.Last.Microseconds()) / 1000},
		}
		if s.trouble != nil {
			st.Since = s.since
		}
		if a.cfg.Store.Can().Liveness {
			policy := policyOf(s.view.Cluster)
			st.Policy = &policy
		}
		if t := s.tombstone; t != nil && len(s.memory.Lost) > 0 {
			st.Problems = append(st.Problems, fmt.Sprintf("this host was reclaimed while it was away (%s): containers of its former pools %v are cut off", t.Reason, t.Pools))
		}
		if s.passes.Err != nil {
			st.Problems = append(st.Problems, s.passes.Err.Error())
		}
		st.Problems = append(st.Problems, s.plan.Conflicts...)
		for _, k := range s.view.Skipped {
			st.Problems = append(st.Problems, leftOut(k))
		}
		for _, n := range s.view.Networks {
			st.Networks = append(st.Networks, s.networkStatus(n, records))
		}
		for _, n := range plan.Peers(s.view, s.self.ID, s.local) {
			p := s.peerStatus(n, alive)
			if p.MTU != 0 && p.MTU < p.Full {
				st.Problems = append(st.Problems, fmt.Sprintf("path MTU %d < %d to %s", p.MTU, p.Full, p.Name))
			}
			st.Peers = append(st.Peers, p)
		}
	})
	return st
}

func leftOut(k store.Skipped) string { return fmt.Sprintf("value of %s left out: %s", k.Key, k.Why) }

// audit is what nobody has told of yet that can't be read in the store.
func (a *Agent) audit(ctx context.Context, told []string) (more []string) {
	auditor, ok := a.cfg.Store.(store.Auditor)
	if !ok {
		return nil
	}
	all, err := auditor.Audit(ctx)
	if err != nil {
		return nil // that the store can't be had is said elsewhere
	}
	for _, k := range all {
		if text := leftOut(k); !slices.Contains(told, text) {
			more = append(more, text)
		}
	}
	return more
}

// alive tells which nodes have a session; nil where that is not known.
func (a *Agent) alive(ctx context.Context) map[store.NodeID]bool {
	if !a.cfg.Store.Can().Liveness {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := a.cfg.Store.Alive(ctx)
	if err != nil {
		return nil
	}
	alive := map[store.NodeID]bool{}
	for _, l := range all {
		alive[l.ID] = true
	}
	return alive
}

func (s *state) peerStatus(n store.Node, alive map[store.NodeID]bool) control.Peer {
	vtep := plan.VTEP(n, s.local)
	p := control.Peer{Name: n.Name, ID: string(n.ID), VTEP: vtep}
	if alive != nil {
		is := alive[n.ID]
		p.Alive = &is
	}
	if path := s.peers[vtep]; path != nil {
		p.MTU, p.Full, p.RTT, p.Heard = path.MTU, path.Full, path.RTT, path.Heard
	}
	return p
}

func (s *state) networkStatus(n store.Network, records []ledger.Record) control.Network {
	c := control.Network{Name: n.Name, Group: n.Group, Ranges: n.Ranges, Bridge: plan.BridgeOf(n), Open: n.Open, Leaving: n.Leaving,
		Pools: poolsIn(s.memory.Owned, n.Name), Lost: poolsIn(s.memory.Lost, n.Name), Owners: []control.Owner{}}
	c.FastPath, c.UsualWay = n.FastPath.String(), s.plan.UsualWay[n.Name]
	taken := 0
	for _, node := range s.view.Nodes {
		if pools := node.Pools[n.Name]; len(pools) > 0 {
			taken += len(pools)
			c.Owners = append(c.Owners, control.Owner{Node: node.Name, Pools: pools})
		}
	}
	c.Total = poolCount(n)
	if c.Free = c.Total - taken; c.Total < 0 {
		c.Free = -1
	}
	if err := s.exhausted[n.Name]; err != nil {
		c.Exhausted = err.Error()
	}
	for _, f := range s.plan.Fence.Fast.Networks {
		if f.Group == n.Group {
			c.Fast = f.Containers
		}
	}
	for _, r := range records {
		if r.Network != n.Name {
			continue
		}
		for _, address := range r.Addresses {
			if slices.ContainsFunc(c.Lost, func(p netip.Prefix) bool { return p.Contains(address.Prefix.Addr()) }) {
				c.Stranded = append(c.Stranded, r.Container)
			}
		}
	}
	return c
}

func poolsIn(claims []store.Claim, network string) []netip.Prefix {
	var pools []netip.Prefix
	for _, c := range claims {
		if c.Network == network {
			pools = append(pools, c.Pool)
		}
	}
	return pools
}

// poolCount is how many pools the ranges have, -1 for more than a billion.
func poolCount(n store.Network) int {
	total := 0
	for _, r := range n.Ranges {
		size := ipam.Pool{Prefix: r, Bits: n.PoolBits(r.Addr().Is4())}.Size()
		if total += size; total > 1<<30 {
			return -1
		}
	}
	return total
}

// doctor compares everything with how it should be, and explains.
func (a *Agent) doctor(ctx context.Context) ([]control.Finding, error) {
	st := a.status(ctx)
	var all []control.Finding
	check := func(ok bool, what, why string) { all = append(all, finding("", ok, what, why)) }
	check(st.Degraded == "", "store "+st.Store, st.Degraded)
	check(st.Ready, "first complete pass", "the overlay was never complete since overlayd started")
	for _, n := range st.Networks {
		check(len(n.Pools) > 0, "pool of network "+n.Name, firstOf(n.Exhausted, "none claimed yet"))
		check(n.UsualWay == "" || n.FastPath != store.FastOn.String(), fastText(n), "fast_path is true, but: "+n.UsualWay)
		check(len(n.Stranded) == 0, "containers of network "+n.Name,
			"addresses of lost pools: "+strings.Join(n.Stranded, ", ")+"; start them anew")
	}
	for _, p := range append(st.Problems, a.audit(ctx, st.Problems)...) {
		check(false, "problem", p)
	}
	var p plan.Plan
	a.with(func(s *state) { p = s.plan })
	if !p.Tunnel.Local.IsValid() {
		return all, nil
	}
	missing, err := a.host.CheckMesh(p.Mesh)
	check(err == nil, "tunnel "+p.Tunnel.Name, fmt.Sprint(err))
	byPeer := map[string][]string{}
	for _, object := range missing {
		byPeer[a.peerOf(p, object)] = append(byPeer[a.peerOf(p, object)], object)
	}
	for _, peer := range st.Peers {
		all = append(all, examine(peer, byPeer[peer.Name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(byPeer)) {
		if name == "" {
			check(false, "routes of this host", "missing or different: "+strings.Join(byPeer[name], "; "))
		}
	}
	return all, nil
}

// fastText says which way a network's packets to other hosts take, or should.
func fastText(n control.Network) string {
	if n.UsualWay == "" || n.FastPath == store.FastOn.String() {
		return "fast path of network " + n.Name
	}
	return fmt.Sprintf("usual way of network %s (%s)", n.Name, n.UsualWay)
}

func finding(peer string, ok bool, what, why string) control.Finding {
	f := control.Finding{Peer: peer, OK: ok, What: what}
	if !ok {
		f.Why = why
	}
	return f
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(t string) bool { return t != "" })
	return texts[i]
}

// examine goes along the way to one peer.
func examine(p control.Peer, missing []string) []control.Finding {
	all := []control.Finding{
		finding(p.Name, len(missing) == 0, "route, neighbour and FDB entry", "missing or different: "+strings.Join(missing, "; ")+" (repaired within a second)"),
	}
	if p.Alive != nil {
		all = append(all, finding(p.Name, *p.Alive, "session", "its overlayd has no session with the store: it is down, or can't reach the store"))
	}
	heard := !p.Heard.IsZero() && time.Since(p.Heard) < 3*probeEvery
	what := "answers probes"
	if heard {
		what = fmt.Sprintf("answers probes (%.2f ms)", p.RTT)
	}
	all = append(all, finding(p.Name, heard, what,
		fmt.Sprintf("no answer from %s: host down, or UDP port of the tunnel or the next one blocked on the way", p.VTEP)))
	if heard && p.MTU != 0 {
		all = append(all, finding(p.Name, p.MTU >= p.Full, fmt.Sprintf("path MTU %d", p.MTU),
			fmt.Sprintf("%d would fit through both ends' links; something between drops larger packets. The route has the smaller MTU", p.Full)))
	}
	return all
}

// peerOf names the peer that a mesh object belongs to.
func (a *Agent) peerOf(p plan.Plan, object string) (name string) {
	for _, peer := range p.Mesh.Peers {
		mac := peer.MAC()
		if !strings.Contains(object, mac.String()) && !strings.Contains(object, mac.LinkLocal().String()) &&
			!strings.Contains(object, "via "+peer.VTEP.String()) {
			continue
		}
		a.with(func(s *state) {
			for _, n := range s.view.Nodes {
				if slices.Contains(n.VTEP, peer.VTEP) {
					name = n.Name
				}
			}
		})
	}
	return name
}
