package network

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/ipam"
)

// A Store is a directory of configuration lists, by default /etc/cni/net.d. It
// is safe for concurrent use, by several processes too.
type Store struct {
	dir string
	log *slog.Logger

	// Supports tells whether this build has the plugin of that type; nil
	// stands for "all".
	Supports func(plugin string) bool

	host   func() ([]Claim, error)
	pools  []ipam.Pool
	random io.Reader
	now    func() time.Time
}

// Open returns the store of dir. Nothing is touched before the first use.
func Open(dir string, log *slog.Logger) *Store {
	return &Store{
		dir: filepath.Clean(dir), log: log,
		host: HostClaims, pools: ipam.DefaultPools(), random: rand.Reader, now: time.Now,
	}
}

// Dir is the directory of the lists.
func (s *Store) Dir() string { return s.dir }

// List gives all networks by name: those on disk, ours and others', and the
// predefined ones. A file that can't be read is logged and passed over.
func (s *Store) List() ([]Network, error) {
	networks, err := s.onDisk()
	if err != nil {
		return nil, err
	}
	for _, n := range predefined() {
		if indexName(networks, n.Name) < 0 {
			networks = append(networks, n)
		}
	}
	slices.SortFunc(networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return networks, nil
}

// onDisk reads the directory as libcni does: in the order of the file names,
// the first list of a name counting.
func (s *Store) onDisk() ([]Network, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var networks []Network
	for _, entry := range entries {
		path := filepath.Join(s.dir, entry.Name())
		if entry.IsDir() || !slices.Contains([]string{".conflist", ".conf", ".json"}, filepath.Ext(path)) {
			continue
		}
		n, err := readFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			s.log.Warn("network configuration passed over", "file", path, "error", err)
		case n.Name == Host || n.Name == None:
			s.log.Warn("network configuration passed over: the name is predefined", "file", path, "network", n.Name)
		case indexName(networks, n.Name) >= 0:
			s.log.Warn("network configuration passed over: the name is taken", "file", path, "network", n.Name)
		default:
			networks = append(networks, n)
		}
	}
	return networks, nil
}

func readFile(path string) (Network, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Network{}, err
	}
	n, err := Parse(data)
	n.File = path
	return n, err
}

func indexName(networks []Network, name string) int {
	return slices.IndexFunc(networks, func(n Network) bool { return n.Name == name })
}

// Find gives the network with that name, that ID, or that beginning of an ID.
// "default" is the default network. The errors are *NotFoundError and
// *AmbiguousError.
func (s *Store) Find(ref string) (Network, error) {
	networks, err := s.List()
	if err != nil {
		return Network{}, err
	}
	return find(networks, ref)
}

func find(networks []Network, ref string) (Network, error) {
	if ref == "default" {
		ref = Default
	}
	if i := indexName(networks, ref); i >= 0 {
		return networks[i], nil
	}
	var found []Network
	for _, n := range networks {
		if n.ID == ref {
			return n, nil
		}
		if ref != "" && strings.HasPrefix(n.ID, ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Network{}, &NotFoundError{Ref: ref, Known: names(networks)}
	}
	return Network{}, &AmbiguousError{Ref: ref, Candidates: found}
}

func names(networks []Network) []string {
	var list []string
	for _, n := range networks {
		list = append(list, n.Name)
	}
	return list
}

// Load is Find for somebody who is about to use the network: the default
// network is made if nobody has used it before.
func (s *Store) Load(ref string) (Network, error) {
	n, err := s.Find(ref)
	if err != nil || n.List != nil {
		return n, err
	}
	return s.makeDefault()
}

func (s *Store) makeDefault() (Network, error) {
	var made Network
	err := s.locked(func() error {
		n, err := s.Find(Default)
		if err == nil && n.List == nil {
			n, err = s.define(Request{Name: Default}, derivedID(Default))
			if err == nil {
				err = s.write(n)
			}
		}
		made = n
		return err
	})
	if err != nil {
		return Network{}, fmt.Errorf("make the default network: %w", err)
	}
	return made, nil
}

// An ExistsError says that the name is taken, and by which network.
type ExistsError struct{ Network Network }

func (e *ExistsError) Error() string { return fmt.Sprintf("network %s already exists", e.Network.Name) }

// Create makes the network that is asked for and writes its list. The errors
// that a caller may want to tell apart are *ExistsError, *OverlapError and
// *ipam.PoolsExhaustedError.
func (s *Store) Create(r Request) (Network, error) {
	if err := CheckName(r.Name); err != nil {
		return Network{}, err
	}
	var made Network
	err := s.locked(func() error {
		n, err := s.plan(r)
		if err == nil {
			err = s.write(n)
		}
		made = n
		return err
	})
	return made, err
}

// Plan is Create without writing anything.
func (s *Store) Plan(r Request) (Network, error) {
	if err := CheckName(r.Name); err != nil {
		return Network{}, err
	}
	return s.plan(r)
}

func (s *Store) plan(r Request) (Network, error) {
	id, err := s.newID()
	if err != nil {
		return Network{}, err
	}
	return s.define(r, id)
}

func (s *Store) define(r Request, id string) (Network, error) {
	d, settings, err := r.check()
	if err != nil {
		return Network{}, err
	}
	if s.Supports != nil && !s.Supports(d.name) {
		return Network{}, fmt.Errorf("driver %s is not available: this build has no %s plugin", d.name, d.name)
	}
	h := host{pools: s.pools, random: s.random}
	if h.networks, err = s.onDisk(); err != nil {
		return Network{}, err
	}
	if i := indexName(h.networks, r.Name); i >= 0 {
		return Network{}, &ExistsError{Network: h.networks[i]}
	}
	if h.claims, err = s.host(); err != nil {
		return Network{}, err
	}
	def, err := h.define(r, d, settings, id)
	if err != nil {
		return Network{}, err
	}
	list, err := def.encode(d.entry(def), s.now().UTC())
	if err != nil {
		return Network{}, err
	}
	n, err := Parse(list)
	n.File = filepath.Join(s.dir, n.Name+".conflist")
	return n, err
}

func (s *Store) newID() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return "", fmt.Errorf("make a network ID: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
