package static

import (
	"context"
	"fmt"
	"slices"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// session is a host that has found itself in the file.
type session struct {
	store *Store
	name  string
	lost  chan struct{} // never closed: a file does not go away from anybody
	entry store.Entry
}

func (s *session) ID() string            { return "" }
func (s *session) Lost() <-chan struct{} { return s.lost }
func (s *session) Entry() store.Entry    { return s.entry }

func (s *session) Watch(ctx context.Context, yield func(store.View)) error {
	return s.store.Watch(ctx, yield)
}

func (s *session) Self() store.Node {
	p, err := s.peer()
	if err != nil {
		return store.Node{Schema: store.Schema, ID: store.NodeID(s.name), Name: s.name, Epoch: 1}
	}
	return p.node()
}

func (s *session) peer() (Peer, error) {
	f, err := s.store.read()
	if err != nil {
		return Peer{}, err
	}
	i := slices.IndexFunc(f.Peers, func(p Peer) bool { return p.Name == s.name })
	if i < 0 {
		return Peer{}, fmt.Errorf("peers file %s: peer %s: %w", s.store.path, s.name, store.ErrNotFound)
	}
	return f.Peers[i], nil
}

func (s *session) Owned(context.Context) ([]store.Claim, error) {
	p, err := s.peer()
	return p.claims(""), err
}

// Claim looks up the first pool that the file gives this host; with a
// preference, that one.
func (s *session) Claim(_ context.Context, r store.ClaimRequest) (store.Claim, error) {
	p, err := s.peer()
	if err != nil {
		return store.Claim{}, err
	}
	for _, c := range p.claims(r.Network) {
		if c.Pool.Addr().Is4() == r.Is4 && (!r.Prefer.IsValid() || c.Pool == r.Prefer) {
			return c, nil
		}
	}
	return store.Claim{}, fmt.Errorf("network %s: peer %s in %s: %w", r.Network, s.name, s.store.path, store.ErrNoPool)
}

func (s *session) Release(_ context.Context, c store.Claim) error {
	return s.store.edit(fmt.Sprintf("release pool %s", c.Pool))
}

// Update has nothing to write; it tells whether the pools are still the host's.
func (s *session) Update(_ context.Context, n store.Node, owned []store.Claim) (store.Node, error) {
	p, err := s.peer()
	if err != nil {
		return n, err
	}
	now := p.claims("")
	lost := slices.DeleteFunc(slices.Clone(owned), func(c store.Claim) bool { return slices.Contains(now, c) })
	if len(lost) > 0 {
		return n, &store.LostPoolError{Lost: lost}
	}
	return p.node(), nil
}

func (s *session) Leave(context.Context) error { return s.store.edit("leave") }

func (s *session) PutNames(context.Context, store.Names) error {
	return fmt.Errorf("publish names: %w", store.ErrUnsupported)
}

func (s *session) DeleteNames(context.Context, string, string) error {
	return fmt.Errorf("withdraw names: %w", store.ErrUnsupported)
}

func (s *session) Close(context.Context, bool) error { return nil }
