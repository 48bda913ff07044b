package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/absence"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
)

const (
	// reclaimPause is how long all hosts wait after one of them has reclaimed
	// another: after a failure of many that looks like their end, little is lost
	// until somebody looks.
	reclaimPause = time.Minute
	// looks is how often those who are absent are looked for until they are due;
	// between two looks lie no less than leastLook and no more than mostLook.
	looks               = 72
	leastLook, mostLook = time.Second, time.Hour
)

// reclaimAbsent takes the pools of hosts that are gone for good, by the
// cluster's policy, when a network is nearly used up. Every host does it; the
// store makes sure that one succeeds, that it is not too soon after another, and
// that the absent host has not come back.
func (a *Agent) reclaimAbsent(ctx context.Context) error {
	var watch absence.Watch
	for {
		wait, on := a.nextLook()
		var look <-chan time.Time
		if on {
			look = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.policy:
			continue // it is another one, and somebody may be due earlier
		case <-look:
		}
		if err := a.lookForAbsent(ctx, &watch); err != nil && ctx.Err() == nil {
			a.log.Debug("absent hosts not looked for", "because", err)
		}
	}
}

// nextLook is when to look for absent hosts, if the policy wants it: spread, so
// that a thousand hosts don't ask at once.
func (a *Agent) nextLook() (wait time.Duration, on bool) {
	if !a.cfg.Store.Can().Liveness {
		return 0, false
	}
	var after time.Duration
	a.with(func(s *state) { after, _, on = s.view.Cluster.ReclaimPolicy() })
	wait = min(max(after/looks, leastLook), mostLook)
	return wait/2 + rand.N(wait), on
}

// lookForAbsent looks once, and reclaims the one that is due. A host that does
// not know for sure what the store says does neither.
func (a *Agent) lookForAbsent(ctx context.Context, watch *absence.Watch) error {
	var view store.View
	var member bool
	a.with(func(s *state) {
		view, member = s.view, s.live && s.joined && s.session != nil && s.trouble == nil && !s.memory.Safe && !s.left
	})
	if !member {
		*watch = absence.Watch{}
		return nil
	}
	absent, err := a.cfg.Store.Absent(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	watch.See(now, absent)
	due, reason, ok := watch.Due(now, view)
	if !ok {
		return nil
	}
	tomb, err := a.cfg.Store.Reclaim(ctx, store.Reclamation{Absence: due, Pause: reclaimPause,
		Reason: fmt.Sprintf("reclaimed by host %s: %s", a.cfg.Name, reason)})
	if err != nil {
		return err // not so soon after another, it came back, somebody was quicker, the store is down: look again
	}
	a.log.Warn("host reclaimed", "host", tomb.Name, "pools", tomb.Pools, "because", tomb.Reason)
	return nil
}

// reclaim takes away what a dead node owns, because somebody says so.
func (a *Agent) reclaim(ctx context.Context, ref string) (string, error) {
	n, err := a.nodeNamed(ref)
	if err != nil {
		return "", err
	}
	absent, err := a.cfg.Store.Absent(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(absent, func(x store.Absence) bool { return x.ID == n.ID })
	if i < 0 {
		return "", fmt.Errorf("node %s is alive: let it leave (netctl overlay leave, there), or stop its overlayd and wait", n.Name)
	}
	tomb, err := a.cfg.Store.Reclaim(ctx, store.Reclamation{Absence: absent[i], Reason: "reclaimed by hand from " + a.cfg.Name})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %v", tomb.Name, tomb.Pools), nil
}

func (a *Agent) nodeNamed(ref string) (store.Node, error) {
	var found []store.Node
	a.with(func(s *state) {
		for _, n := range s.view.Nodes {
			if n.Name == ref || string(n.ID) == ref {
				found = append(found, n)
			}
		}
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return store.Node{}, fmt.Errorf("no node is called %s", ref)
	}
	return store.Node{}, fmt.Errorf("%d nodes are called %s: give the ID, %s or %s", len(found), ref, found[0].ID, found[1].ID)
}

// prune removes what is left of hosts that were reclaimed long ago.
func (a *Agent) prune(r *http.Request) ([]control.Reclaimed, error) {
	var before time.Time
	if err := json.NewDecoder(r.Body).Decode(&before); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	pruned, err := a.cfg.Store.PruneTombstones(r.Context(), before)
	all := []control.Reclaimed{}
	for _, t := range pruned {
		all = append(all, control.Reclaimed{Node: t.Name, ID: string(t.ID), Reason: t.Reason, Made: t.Made})
	}
	return all, err
}

// changePolicy changes what is given, and tells what is in force then.
func (a *Agent) changePolicy(r *http.Request) (control.Policy, error) {
	var wanted control.PolicyChange
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return control.Policy{}, fmt.Errorf("policy: %w", err)
	}
	if !a.cfg.Store.Can().Liveness {
		return control.Policy{}, fmt.Errorf("policy: %w (%s): nobody is reclaimed there", store.ErrUnsupported, a.cfg.Store.Kind())
	}
	var c store.Cluster
	var live bool
	a.with(func(s *state) { c, live = s.view.Cluster, s.live })
	if !live {
		return control.Policy{}, fmt.Errorf("policy: %w: this host does not know what is in force", store.ErrUnreachable)
	}
	if wanted.ReclaimAfter != nil {
		if c.ReclaimAfter = int64(*wanted.ReclaimAfter / time.Second); c.ReclaimAfter <= 0 {
			c.ReclaimAfter = -1
		}
	}
	if wanted.ReclaimAbove != nil {
		c.ReclaimAbove = *wanted.ReclaimAbove
	}
	if wanted != (control.PolicyChange{}) {
		var err error
		if c, err = a.cfg.Store.UpdateCluster(r.Context(), c); err != nil {
			return control.Policy{}, err
		}
	}
	return policyOf(c), nil
}

func policyOf(c store.Cluster) control.Policy {
	after, above, on := c.ReclaimPolicy()
	if !on {
		return control.Policy{ReclaimAbove: above}
	}
	return control.Policy{ReclaimAfter: after, ReclaimAbove: above}
}
