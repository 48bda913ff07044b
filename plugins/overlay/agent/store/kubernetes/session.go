package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A session is the right to write one Node's annotation. It does not expire:
// whether a node lives is the cluster's to tell.
type session struct {
	store *Store
	uid   string
	self  store.Node
	entry store.Entry
	lost  chan struct{} // never closed
	read  atomic.Pointer[opening]
}

var _ store.Session = (*session)(nil)

// Session checks that this node may come in. The record is written by Update,
// when there is a pool to tell about.
func (s *Store) Session(ctx context.Context, r store.Registration) (store.Session, error) {
	cluster, err := s.cluster(ctx)
	if err != nil {
		return nil, err
	}
	if r.Cluster != "" && r.Cluster != cluster.ID {
		return nil, &store.ClusterError{Have: cluster.ID, Want: r.Cluster}
	}
	o, own, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.vtepsFree(r.Node.VTEP, recordsOf(o.nodes)); err != nil {
		return nil, err
	}
	o.cluster = cluster
	self := r.Node
	self.Schema, self.ID, self.Epoch = store.Schema, store.NodeID(s.config.Node), 1
	self.Pools = own.record.Pools
	n := &session{store: s, uid: own.uid, self: self, lost: make(chan struct{})}
	n.entry = store.Entry{Cluster: cluster.ID, Owned: n.claims(own)}
	n.read.Store(o)
	return n, nil
}

// An opening is what was read when a session was opened: the session's Watch
// begins with it.
type opening struct {
	cluster store.Cluster
	own     *unstructured.UnstructuredList
	nodes   *metav1.PartialObjectMetadataList
}

// open reads this host's Node and the metadata of all.
func (s *Store) open(ctx context.Context) (*opening, *ownNode, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	list, own, err := s.readOwn(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := s.list(ctx)
	return &opening{own: list, nodes: nodes}, own, err
}

// list reads all nodes' metadata, from the server's cache.
func (s *Store) list(ctx context.Context) (*metav1.PartialObjectMetadataList, error) {
	list, err := s.nodes.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, s.failed("list nodes", err)
	}
	return list, nil
}

// recordsOf are those that can be read.
func recordsOf(list *metav1.PartialObjectMetadataList) []store.Node {
	var records []store.Node
	for _, item := range list.Items {
		if record, err := parse(item.Annotations[Annotation], item.Name); err == nil {
			records = append(records, record)
		}
	}
	return records
}

// recordsNow are those of all nodes: as a stream has them, or else they are read.
func (s *Store) recordsNow(ctx context.Context) ([]store.Node, error) {
	if others := s.others.Load(); others != nil {
		return others.all(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	list, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	return recordsOf(list), nil
}

// vtepsFree refuses tunnel addresses that another node's record has.
func (s *Store) vtepsFree(vteps []netip.Addr, records []store.Node) error {
	for _, record := range records {
		for _, a := range vteps {
			if string(record.ID) != s.config.Node && slices.Contains(record.VTEP, a) {
				return &store.TakenError{What: "tunnel address " + a.String(), Holder: string(record.ID), Hint: "two hosts can't have one address; if that host is gone for good, delete its Node"}
			}
		}
	}
	return nil
}

// ID is "": sessions don't expire.
func (n *session) ID() string { return "" }

// Entry is what was found.
func (n *session) Entry() store.Entry { return n.entry }

// Watch goes on from what was read when the session was opened.
func (n *session) Watch(ctx context.Context, yield func(store.View)) error {
	return n.store.watch(ctx, n.read.Swap(nil), yield)
}

// Self is the record as this session writes it.
func (n *session) Self() store.Node { return n.self }

// Lost is never closed.
func (n *session) Lost() <-chan struct{} { return n.lost }

// Owned are the Node's spec.podCIDRs.
func (n *session) Owned(ctx context.Context) ([]store.Claim, error) {
	own, err := n.store.ownNow(ctx)
	if err != nil {
		return nil, err
	}
	return n.claims(own), nil
}

func (n *session) claims(own *ownNode) []store.Claim {
	var claims []store.Claim
	for _, pool := range own.pools {
		claims = append(claims, store.Claim{Network: n.store.network.Name, Pool: pool, Owner: n.self.ID, Epoch: n.self.Epoch})
	}
	return claims
}

// Claim looks up what the cluster has assigned; ErrNoPool if it hasn't yet.
func (n *session) Claim(ctx context.Context, r store.ClaimRequest) (store.Claim, error) {
	if r.Network != n.store.network.Name {
		return store.Claim{}, fmt.Errorf("network %s: %w: in Kubernetes mode there is only %s", r.Network, store.ErrNotFound, n.store.network.Name)
	}
	owned, err := n.Owned(ctx)
	if err != nil {
		return store.Claim{}, err
	}
	for _, c := range owned {
		if c.Pool.Addr().Is4() == r.Is4 {
			return c, nil
		}
	}
	return store.Claim{}, fmt.Errorf("node %s: %w: its spec.podCIDRs has none of this family", n.store.config.Node, store.ErrNoPool)
}

// Update writes the annotation if it differs.
func (n *session) Update(ctx context.Context, record store.Node, owned []store.Claim) (store.Node, error) {
	if err := record.Check(); err != nil {
		return store.Node{}, err
	}
	own, err := n.store.ownNow(ctx)
	if err != nil {
		return store.Node{}, err
	}
	if lost := n.lostOf(record, own, owned); lost != nil {
		return store.Node{}, lost
	}
	record.Schema, record.ID, record.Epoch = store.Schema, n.self.ID, n.self.Epoch
	if own.uid == n.uid && record.Equal(own.record) {
		return record, nil
	}
	records, err := n.store.recordsNow(ctx)
	if err != nil {
		return store.Node{}, err
	}
	if err := n.store.vtepsFree(record.VTEP, records); err != nil {
		return store.Node{}, err
	}
	if err := n.store.apply(ctx, own.uid, &record); err != nil {
		return store.Node{}, err
	}
	n.uid, n.self = own.uid, record
	return record, nil
}

// lostOf finds the pools of a record, and of what the caller believes to own,
// that the Node doesn't have (any more).
func (n *session) lostOf(record store.Node, own *ownNode, owned []store.Claim) error {
	var lost store.LostPoolError
	for _, c := range owned {
		if !slices.Contains(own.pools, c.Pool) {
			lost.Lost = append(lost.Lost, c)
		}
	}
	for network, pools := range record.Pools {
		for _, pool := range pools {
			believed := slices.ContainsFunc(owned, func(c store.Claim) bool { return c.Network == network && c.Pool == pool })
			if !believed || network != n.store.network.Name {
				lost.Lost = append(lost.Lost, store.Claim{Network: network, Pool: pool, Owner: n.self.ID})
			}
		}
	}
	if len(lost.Lost) > 0 {
		return &lost
	}
	return nil
}

// Leave takes the annotation away: peers forget this node.
func (n *session) Leave(ctx context.Context) error {
	own, err := n.store.ownNow(ctx)
	if err != nil {
		return err
	}
	n.self.Pools = maps.Clone(n.self.Pools)
	clear(n.self.Pools)
	return n.store.apply(ctx, own.uid, nil)
}

// Close has nothing to give up.
func (n *session) Close(context.Context, bool) error { return nil }

func unsupported(what, instead string) error {
	return fmt.Errorf("%s: %w (kubernetes): %s", what, store.ErrUnsupported, instead)
}

// Release can't be done: pools are the controller manager's.
func (n *session) Release(_ context.Context, c store.Claim) error {
	return unsupported("release pool "+c.Pool.String(), "the cluster takes a pool back when the Node is deleted")
}

// PutNames can't be done: names are CoreDNS's.
func (n *session) PutNames(context.Context, store.Names) error {
	return unsupported("publish names", "services and pods are named by the cluster's DNS")
}

// DeleteNames can't be done: names are CoreDNS's.
func (n *session) DeleteNames(context.Context, string, string) error {
	return unsupported("withdraw names", "services and pods are named by the cluster's DNS")
}

// CreateNetwork can't be done: there is one network.
func (s *Store) CreateNetwork(_ context.Context, n store.Network) (store.Network, error) {
	return n, unsupported("create network "+n.Name, "all pods are in network "+s.network.Name)
}

// UpdateNetwork can't be done: there is one network.
func (s *Store) UpdateNetwork(_ context.Context, n store.Network) (store.Network, error) {
	return n, unsupported("update network "+n.Name, "change the configuration of overlayd on every node")
}

// RemoveNetwork can't be done: there is one network.
func (s *Store) RemoveNetwork(_ context.Context, name string) error {
	return unsupported("remove network "+name, "remove overlayd from the cluster")
}

// Alive can't be told.
func (s *Store) Alive(context.Context) ([]store.Liveness, error) {
	return nil, unsupported("list who is alive", "kubectl get nodes shows it")
}

// Absent can't be told.
func (s *Store) Absent(context.Context) ([]store.Absence, error) {
	return nil, unsupported("list who is absent", "kubectl get nodes shows it")
}

// Reclaim can't be done.
func (s *Store) Reclaim(_ context.Context, r store.Reclamation) (store.Tombstone, error) {
	return store.Tombstone{}, unsupported("reclaim node "+string(r.ID), "kubectl delete node "+string(r.ID)+" gives its pools back")
}

// PruneTombstones has none to prune.
func (s *Store) PruneTombstones(context.Context, time.Time) ([]store.Tombstone, error) {
	return nil, unsupported("prune tombstones", "a deleted Node leaves none")
}

// UpdateCluster can't be done: there are no policies.
func (s *Store) UpdateCluster(_ context.Context, c store.Cluster) (store.Cluster, error) {
	return c, unsupported("change the cluster's policies", "the cluster takes pools back when a Node is deleted")
}

// Tombstone can't be told.
func (s *Store) Tombstone(_ context.Context, id store.NodeID) (store.Tombstone, error) {
	return store.Tombstone{}, unsupported("tombstone of node "+string(id), "a deleted Node leaves none")
}

// WatchNames can't be done: names are CoreDNS's.
func (s *Store) WatchNames(context.Context, string, func([]store.Names)) error {
	return unsupported("watch names", "services and pods are named by the cluster's DNS")
}

// Pools lists what the nodes' records say.
func (s *Store) Pools(ctx context.Context, network string) ([]store.Claim, error) {
	if network != "" && network != s.network.Name {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	list, err := s.nodes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.failed("list nodes", err)
	}
	var claims []store.Claim
	for _, item := range list.Items {
		record, err := parse(item.Annotations[Annotation], item.Name)
		if err != nil {
			continue
		}
		for _, pool := range record.Pools[s.network.Name] {
			claims = append(claims, store.Claim{Network: s.network.Name, Pool: pool, Owner: record.ID, Epoch: record.Epoch})
		}
	}
	return claims, nil
}
