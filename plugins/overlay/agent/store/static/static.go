// Package static is the store of a few hosts: a peers file, the same on each
// of them, which lists everybody with their pools. Somebody edits and copies
// it; a change is picked up at once, and one that contradicts itself is refused
// and reported while the last good one stays in force.
package static

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Config says where the file is.
type Config struct {
	Path string `json:"path"`
}

// Store reads a peers file.
type Store struct {
	path string
	log  *slog.Logger
	// again is how often the file is looked at beside notifications, which some
	// file systems don't have.
	again time.Duration

	mu   sync.Mutex
	last File   // the last one that was good
	text []byte // what it was read from
	have bool
}

// Open makes a store of a file, which need not be there yet.
func Open(_ context.Context, c Config, log *slog.Logger) (*Store, error) {
	if c.Path == "" {
		return nil, errors.New("key path is missing: want the peers file")
	}
	return &Store{path: c.Path, log: log, again: lookAgain}, nil
}

// Kind implements store.Store.
func (*Store) Kind() string { return "static" }

// Can implements store.Store: everything is somebody else's to decide.
func (*Store) Can() store.Abilities { return store.Abilities{} }

// Close implements store.Store.
func (*Store) Close() error { return nil }

// read gives the file, or the last good one together with what is wrong. Every
// pass of the agent asks several times: a file of the same text is not parsed
// again. Nobody may change what it gives.
func (s *Store) read() (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := os.ReadFile(s.path)
	if err == nil && s.have && bytes.Equal(data, s.text) {
		return s.last, nil
	}
	if err == nil {
		var f File
		if f, err = Parse(data); err == nil {
			s.last, s.text, s.have = f, data, true
			return f, nil
		}
		err = fmt.Errorf("peers file %s: %w", s.path, err)
	} else {
		err = fmt.Errorf("peers file: %w: %w", store.ErrUnreachable, err)
	}
	return s.last, err
}

const lookAgain = 5 * time.Second

// Watch implements store.Store. A file that is gone or wrong changes nothing;
// what is wrong with it is a skipped value of the View.
func (s *Store) Watch(ctx context.Context, yield func(store.View)) error {
	news, err := openNews(ctx)
	if err != nil {
		return fmt.Errorf("watch %s: %w", s.path, err)
	}
	tick := time.NewTicker(s.again)
	defer tick.Stop()
	var last *store.View
	for {
		// What is read was so after the watches were set: no change falls between.
		if err := news.follow(s.path); err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch %s: %w", s.path, err)
		}
		f, err := s.read()
		if err != nil && !s.have {
			return err
		}
		view := f.View()
		if err != nil {
			view.Skipped = []store.Skipped{{Key: s.path, Why: err.Error()}}
		}
		if last == nil || !reflect.DeepEqual(*last, view) {
			yield(view)
			last = &view
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news.came:
		case <-tick.C:
		}
	}
}

// Session implements store.Store: the host finds itself in the file by its
// tunnel address.
func (s *Store) Session(_ context.Context, r store.Registration) (store.Session, error) {
	f, err := s.read()
	if err != nil {
		return nil, err
	}
	if r.Cluster != "" && r.Cluster != store.ClusterID(f.Cluster) {
		return nil, &store.ClusterError{Have: store.ClusterID(f.Cluster), Want: r.Cluster}
	}
	addresses := r.Node.VTEP
	if len(addresses) == 0 {
		addresses = r.Local
	}
	peer, err := f.find(func(p Peer) bool { return slices.Contains(addresses, p.VTEP) })
	if err != nil {
		return nil, fmt.Errorf("peers file %s: %w", s.path, err)
	}
	return &session{store: s, name: peer.Name, lost: make(chan struct{}),
		entry: store.Entry{Cluster: store.ClusterID(f.Cluster), Owned: peer.claims("")}}, nil
}

// find looks for the one peer that is this host.
func (f File) find(is func(Peer) bool) (Peer, error) {
	var found []Peer
	for _, p := range f.Peers {
		if is(p) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return Peer{}, fmt.Errorf("no peer has a tunnel address of this host: add this host with its vtep (%w)", store.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return Peer{}, fmt.Errorf("peers %s and %s both have a tunnel address of this host: give it with --vtep", found[0].Name, found[1].Name)
}

func (s *Store) edit(what string) error {
	return fmt.Errorf("%s: %w: edit %s, the same on every host", what, store.ErrUnsupported, s.path)
}

// CreateNetwork implements store.Store.
func (s *Store) CreateNetwork(_ context.Context, n store.Network) (store.Network, error) {
	return n, s.edit("make network " + n.Name)
}

// UpdateNetwork implements store.Store.
func (s *Store) UpdateNetwork(_ context.Context, n store.Network) (store.Network, error) {
	return n, s.edit("change network " + n.Name)
}

// RemoveNetwork implements store.Store.
func (s *Store) RemoveNetwork(_ context.Context, name string) error {
	return s.edit("remove network " + name)
}

// Alive implements store.Store.
func (s *Store) Alive(context.Context) ([]store.Liveness, error) {
	return nil, fmt.Errorf("who is alive: %w: a peers file does not know", store.ErrUnsupported)
}

// Pools implements store.Store.
func (s *Store) Pools(_ context.Context, network string) ([]store.Claim, error) {
	f, err := s.read()
	if err != nil {
		return nil, err
	}
	var claims []store.Claim
	for _, p := range f.Peers {
		claims = append(claims, p.claims(network)...)
	}
	return claims, nil
}

// Absent implements store.Store.
func (s *Store) Absent(context.Context) ([]store.Absence, error) {
	return nil, fmt.Errorf("who is absent: %w: a peers file does not know", store.ErrUnsupported)
}

// Reclaim implements store.Store.
func (s *Store) Reclaim(_ context.Context, r store.Reclamation) (store.Tombstone, error) {
	return store.Tombstone{}, s.edit("reclaim the pools of " + string(r.ID))
}

// PruneTombstones implements store.Store.
func (s *Store) PruneTombstones(context.Context, time.Time) ([]store.Tombstone, error) {
	return nil, fmt.Errorf("prune tombstones: %w: a peers file has none", store.ErrUnsupported)
}

// UpdateCluster implements store.Store.
func (s *Store) UpdateCluster(_ context.Context, c store.Cluster) (store.Cluster, error) {
	return c, fmt.Errorf("change the cluster's policies: %w: with a peers file nobody is reclaimed", store.ErrUnsupported)
}

// Tombstone implements store.Store.
func (s *Store) Tombstone(_ context.Context, id store.NodeID) (store.Tombstone, error) {
	return store.Tombstone{}, fmt.Errorf("what happened to %s: %w", id, store.ErrUnsupported)
}

// WatchNames implements store.Store.
func (s *Store) WatchNames(context.Context, string, func([]store.Names)) error {
	return fmt.Errorf("names of other hosts: %w", store.ErrUnsupported)
}
