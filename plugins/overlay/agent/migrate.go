package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// migrate enters all that this host's store says into another one.
func (a *Agent) migrate(r *http.Request) ([]string, error) {
	var path string
	if err := json.NewDecoder(r.Body).Decode(&path); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	if a.cfg.Store.Can().Claims {
		return nil, fmt.Errorf("migrate: this host's store is %s already: only a peers file is moved from", a.cfg.Store.Kind())
	}
	settings, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	to, err := settings.OpenStore(r.Context(), a.log)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if !to.Can().Claims {
		return nil, fmt.Errorf("migrate: a store of kind %s hands no pools out", to.Kind())
	}
	var view store.View
	a.with(func(s *state) { view = s.view })
	return Import(r.Context(), to, view)
}

// Import enters the networks and nodes of a view into a store, each pool to its
// owner. What is there already stays, so it can be repeated; a pool that belongs
// to another node there is an error.
func Import(ctx context.Context, to store.Store, view store.View) (did []string, err error) {
	for _, n := range view.Networks {
		_, err := to.CreateNetwork(ctx, n)
		var taken *store.TakenError
		if err != nil && !errors.As(err, &taken) {
			return did, err
		}
		if err == nil {
			did = append(did, "network "+n.Name)
		}
	}
	claims, err := to.Pools(ctx, "")
	if err != nil {
		return did, err
	}
	for _, n := range view.Nodes {
		lines, err := importNode(ctx, to, n, claims)
		did = append(did, lines...)
		if err != nil {
			return did, fmt.Errorf("host %s: %w", n.Name, err)
		}
	}
	return did, nil
}

func importNode(ctx context.Context, to store.Store, n store.Node, claims []store.Claim) (did []string, err error) {
	missing := false
	for network, pools := range n.Pools {
		for _, pool := range pools {
			missing = missing || !slices.ContainsFunc(claims, func(c store.Claim) bool {
				return c.Owner == n.ID && c.Network == network && c.Pool == pool
			})
		}
	}
	if !missing && len(n.Pools) > 0 {
		return nil, nil
	}
	record := n
	record.Pools = nil
	session, err := to.Session(ctx, store.Registration{Node: record, Boot: "migration"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx), false)) }()
	for network, pools := range n.Pools {
		for _, pool := range pools {
			got, err := session.Claim(ctx, store.ClaimRequest{Network: network, Is4: pool.Addr().Is4(), Prefer: pool})
			if err != nil {
				return did, err
			}
			if got.Pool != pool {
				return did, errors.Join(fmt.Errorf("pool %s of network %s belongs to another host in the new store", pool, network),
					session.Release(ctx, got))
			}
			did = append(did, fmt.Sprintf("host %s: pool %s of network %s", n.Name, pool, network))
		}
	}
	return did, nil
}
