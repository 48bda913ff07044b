package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Watch follows the annotations of all Nodes, and of this node's own object the
// pools too: a change of those wakes the caller although no record changed.
//
// Lists, streams, bookmarks, expired versions and their retries are the client
// library's (Reflector). What it can't get past ends the watch.
func (s *Store) Watch(ctx context.Context, yield func(store.View)) error {
	return s.watch(ctx, nil, yield)
}

// watch begins with what was read, unless that is nil.
func (s *Store) watch(ctx context.Context, read *opening, yield func(store.View)) error {
	if read == nil {
		cluster, err := s.cluster(ctx)
		if err != nil {
			return err
		}
		read = &opening{cluster: cluster}
	}
	defer s.own.Store(nil)
	defer s.others.Store(nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	roll := &roll{store: s, cluster: read.cluster, yield: yield, texts: map[string]string{}, records: map[string]store.Node{}, skipped: map[string]string{}}
	own := &ownPools{roll: roll, known: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { cancel(s.reflect(ctx, "own node", s.listOwn(read.own), &unstructured.Unstructured{}, own)) })
	// The first view comes when the own pools are known: only what changes after
	// that has to wake anybody.
	select {
	case <-own.known:
		running.Go(func() {
			cancel(s.reflect(ctx, "nodes", s.listNodes(read.nodes), &metav1.PartialObjectMetadata{}, roll))
		})
	case <-ctx.Done():
	}
	running.Wait()
	return context.Cause(ctx)
}

// reflect keeps a Reflector going until it can't list.
func (s *Store) reflect(ctx context.Context, what string, lister cache.ListerWatcher, example any, into cache.ReflectorStore) error {
	quiet := logr.Discard()
	var last error
	r := cache.NewReflectorWithOptions(lister, example, into, cache.ReflectorOptions{Name: what, Logger: &quiet})
	for ctx.Err() == nil {
		if last = r.ListAndWatchWithContext(logr.NewContext(ctx, quiet)); last != nil {
			return s.failed("watch "+what, last)
		}
	}
	return ctx.Err()
}

// A lister gives the list that was read already, at first, and then asks.
type lister struct {
	cache.ListWatch
}

// IsWatchListSemanticsUnSupported keeps the Reflector from asking for a list by
// way of the stream: there is one, or a server that has none would be asked in
// vain each time.
func (*lister) IsWatchListSemanticsUnSupported() bool { return true }

// listOnce makes a lister that begins with a list, if it has one.
func listOnce[L runtime.Object](read L, has bool, list func(context.Context, metav1.ListOptions) (L, error),
	follow func(context.Context, metav1.ListOptions) (watch.Interface, error)) *lister {
	return &lister{cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if has {
				has = false
				return read, nil
			}
			return list(ctx, o)
		},
		WatchFuncWithContext: follow,
	}}
}

func (s *Store) listNodes(read *metav1.PartialObjectMetadataList) *lister {
	return listOnce(read, read != nil, s.nodes.List, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		w, err := s.nodes.Watch(ctx, o)
		if err != nil {
			s.others.Store(nil)
		}
		return w, err
	})
}

// ownField selects this host's Node.
func (s *Store) ownField() string {
	return fields.OneTermEqualSelector("metadata.name", s.config.Node).String()
}

func (s *Store) listOwn(read *unstructured.UnstructuredList) *lister {
	own := s.full.Resource(nodeResource())
	list := func(ctx context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
		o.FieldSelector = s.ownField()
		return own.List(ctx, o)
	}
	return listOnce(read, read != nil, list, func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		o.FieldSelector = s.ownField()
		w, err := own.Watch(ctx, o)
		if err != nil {
			s.own.Store(nil) // whoever asks is told why there is no answer
		}
		return w, err
	})
}

// A roll is the records of all nodes, and a cache.ReflectorStore.
type roll struct {
	store   *Store
	cluster store.Cluster
	yield   func(store.View)

	mu       sync.Mutex
	listed   bool
	texts    map[string]string     // annotations as they were written, by node
	records  map[string]store.Node // those that can be read
	skipped  map[string]string     // those that can't: why
	revision store.Revision
}

// Add takes one Node over.
func (r *roll) Add(object any) error { return r.change(object, false) }

// Update takes one Node over.
func (r *roll) Update(object any) error { return r.change(object, false) }

// Delete forgets one Node.
func (r *roll) Delete(object any) error { return r.change(object, true) }

// Resync has nothing to do.
func (r *roll) Resync() error { return nil }

func (r *roll) change(object any, deleted bool) error {
	node, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return fmt.Errorf("watch nodes: the server sent a %T", object)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text, has := node.Annotations[Annotation]
	if r.set(node.Name, text, has && !deleted, node.ResourceVersion) {
		r.show()
	}
	return nil
}

// Replace takes a complete list over.
func (r *roll) Replace(objects []any, version string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, first := false, !r.listed
	gone := maps.Clone(r.texts)
	for _, object := range objects {
		node, ok := object.(*metav1.PartialObjectMetadata)
		if !ok {
			return fmt.Errorf("list nodes: the server sent a %T", object)
		}
		text, has := node.Annotations[Annotation]
		if has {
			delete(gone, node.Name)
		}
		changed = r.set(node.Name, text, has, node.ResourceVersion) || changed
	}
	for name := range gone {
		changed = r.set(name, "", false, version) || changed
	}
	// The list's own: the newest Node may be the one that was deleted.
	r.heard(version)
	r.listed = true
	r.store.others.Store(r)
	if changed || first {
		r.show()
	}
	return nil
}

// all are the records that can be read.
func (r *roll) all() []store.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.records))
}

// set takes an annotation over and tells whether it is another one.
func (r *roll) set(name, text string, has bool, version string) bool {
	r.heard(version)
	before, had := r.texts[name]
	if had == has && before == text {
		return false
	}
	delete(r.texts, name)
	delete(r.records, name)
	delete(r.skipped, name)
	if !has {
		return true
	}
	r.texts[name] = text
	record, err := parse(text, name)
	if err != nil {
		r.skipped[name] = err.Error()
		return true
	}
	r.records[name] = record
	return true
}

// heard notes how far the cluster is.
func (r *roll) heard(version string) {
	if v, err := strconv.ParseInt(version, 10, 64); err == nil {
		r.revision = max(r.revision, store.Revision(v))
	}
}

// show yields what is known, once it is complete.
func (r *roll) show() {
	if !r.listed {
		return
	}
	v := store.View{Cluster: r.cluster, Revision: r.revision, Networks: []store.Network{r.store.network}, Nodes: slices.Collect(maps.Values(r.records))}
	for name, why := range r.skipped {
		v.Skipped = append(v.Skipped, store.Skipped{Key: "node " + name, Why: why, Node: store.NodeID(name)})
	}
	r.yield(store.Assemble(v))
}

// ownPools wakes the caller when this node's pools change.
type ownPools struct {
	roll  *roll
	known chan struct{} // closed after the first look
	last  []string
}

// Add looks at the own Node.
func (o *ownPools) Add(object any) error { return o.look(object) }

// Update looks at the own Node.
func (o *ownPools) Update(object any) error { return o.look(object) }

// Delete is a Node without pools.
func (o *ownPools) Delete(any) error { return o.look(&unstructured.Unstructured{}) }

// Resync has nothing to do.
func (o *ownPools) Resync() error { return nil }

// Replace looks at the own Node, if there is one.
func (o *ownPools) Replace(objects []any, _ string) error {
	if len(objects) == 0 {
		return o.look(&unstructured.Unstructured{})
	}
	return o.look(objects[0])
}

func (o *ownPools) look(object any) error {
	node, ok := object.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch own node: the server sent a %T", object)
	}
	cidrs, _, _ := unstructured.NestedStringSlice(node.Object, "spec", "podCIDRs")
	if own, err := o.roll.store.interpret(node); err == nil && own.uid != "" {
		o.roll.store.follow(own)
	} else {
		o.roll.store.own.Store(nil) // reading it says what is wrong
	}
	select {
	case <-o.known:
	default:
		o.last = cidrs
		close(o.known)
		return nil
	}
	if slices.Equal(cidrs, o.last) {
		return nil
	}
	o.last = cidrs
	o.roll.mu.Lock()
	defer o.roll.mu.Unlock()
	o.roll.show()
	return nil
}
