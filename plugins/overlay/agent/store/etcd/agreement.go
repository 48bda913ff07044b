package etcd

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// An agreement is what the store says, as far as this client has heard: the
// values as they were written, and what they mean.
type agreement struct {
	revision int64
	raw      map[string][]byte
	cluster  store.Cluster
	networks map[string]store.Network // by key
	nodes    map[string]store.Node    // by key
	skipped  map[string]store.Skipped // by key
	// early is the view before any change, if it is being made already.
	early func() store.View
}

// prepare begins to make the view, while whoever has read all this asks for more.
func (a *agreement) prepare() {
	a.early = sync.OnceValue(a.view)
	go a.early()
}

// first is the view before any change.
func (a *agreement) first() store.View {
	if a.early == nil {
		return a.view()
	}
	return a.early()
}

// join takes over what is in another agreement and not in this one.
func (a *agreement) join(o *agreement) {
	maps.Copy(a.raw, o.raw)
	maps.Copy(a.networks, o.networks)
	maps.Copy(a.nodes, o.nodes)
	maps.Copy(a.skipped, o.skipped)
}

// apply takes one change over, and tells whether it changed anything. A value
// that equals the one before changes nothing but its revision.
func (a *agreement) apply(s *Store, kv *mvccpb.KeyValue, deleted bool) bool {
	key := string(kv.Key)
	folder, name := s.folder(key)
	if folder == groupDir || folder == "" {
		return false
	}
	before, had := a.raw[key]
	if deleted {
		a.forget(key)
		return had
	}
	same := had && bytes.Equal(before, kv.Value)
	if _, unreadable := a.skipped[key]; same && unreadable {
		return false
	}
	if !same {
		a.forget(key)
		a.raw[key] = kv.Value
	}
	if err := a.interpret(folder, name, key, kv, same); err != nil {
		a.skip(folder, name, key, err)
	}
	return !same
}

func (a *agreement) applyAll(s *Store, kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		a.apply(s, kv, false)
	}
}

// folder splits a key below the prefix; "" is none that is followed here.
func (s *Store) folder(key string) (folder, name string) {
	rest := strings.TrimPrefix(key, s.config.Prefix+"/")
	if rest == configKey {
		return configKey, ""
	}
	for _, dir := range []string{netDir, groupDir, nodeDir} {
		if name, ok := strings.CutPrefix(rest, dir); ok {
			return dir, name
		}
	}
	return "", ""
}

// newAgreement has room for so many records.
func newAgreement(revision int64, records int) *agreement {
	return &agreement{
		revision: revision, raw: make(map[string][]byte, records), skipped: map[string]store.Skipped{},
		networks: map[string]store.Network{}, nodes: make(map[string]store.Node, records),
	}
}

func (a *agreement) forget(key string) {
	delete(a.raw, key)
	delete(a.networks, key)
	delete(a.nodes, key)
	delete(a.skipped, key)
}

// interpret reads a value, or just takes over its revision if it is the same.
func (a *agreement) interpret(folder, name, key string, kv *mvccpb.KeyValue, same bool) error {
	revision := store.Revision(kv.ModRevision)
	switch folder {
	case configKey:
		c := a.cluster
		if !same {
			c = store.Cluster{}
			if err := decode(kv.Value, &c); err != nil {
				return err
			}
		}
		c.Revision = revision
		a.cluster = c
	case netDir:
		n := a.networks[key]
		if !same {
			if err := readNetwork(kv.Value, name, &n); err != nil {
				return err
			}
		}
		n.Revision = revision
		a.networks[key] = n
	case nodeDir:
		n := a.nodes[key]
		if !same {
			if err := readNode(kv.Value, name, &n); err != nil {
				return err
			}
		}
		n.Revision = revision
		a.nodes[key] = n
	}
	return nil
}

// skip notes a value that can't be read, and whose it is.
func (a *agreement) skip(folder, name, key string, why error) {
	skipped := store.Skipped{Key: key, Why: why.Error()}
	switch folder {
	case configKey:
		skipped.Cluster, a.cluster = true, store.Cluster{}
	case netDir:
		skipped.Network = name
	case nodeDir:
		skipped.Node = store.NodeID(name)
	}
	a.skipped[key] = skipped
}

func readNetwork(raw []byte, name string, into *store.Network) error {
	if err := decode(raw, into); err != nil {
		return err
	}
	if into.Name != name {
		return fmt.Errorf("the value names network %q", into.Name)
	}
	return into.Check()
}

func readNode(raw []byte, name string, into *store.Node) error {
	if err := decode(raw, into); err != nil {
		return err
	}
	if string(into.ID) != name {
		return fmt.Errorf("the value names node %q", into.ID)
	}
	return into.Check()
}

// same tells whether two agreements have the same values.
func (a *agreement) same(o *agreement) bool {
	return o.raw != nil && maps.EqualFunc(a.raw, o.raw, bytes.Equal)
}

func (a *agreement) view() store.View {
	v := store.View{
		Cluster: a.cluster, Revision: store.Revision(a.revision),
		Networks: slices.Collect(maps.Values(a.networks)), Nodes: slices.Collect(maps.Values(a.nodes)),
	}
	v.Skipped = slices.Collect(maps.Values(a.skipped))
	return store.Assemble(v)
}
