// Package kubernetes has an overlay agree through the Kubernetes API, with
// nothing installed there but what a node may write to its own Node.
//
// A node's pools are its Node's spec.podCIDRs: the controller manager hands them
// out, this package waits for them. What peers need to know is one annotation of
// the Node, compact JSON of a store.Node, written by server-side apply with a
// field manager of its own and only when it differs. Peers watch Nodes as
// metadata, so that a kubelet's status updates cost no decoding of whole
// objects, and ignore events that leave the annotation as it was.
//
// A node that joins makes seven requests, however many others there are: the
// namespace that names the cluster, its own Node and the list of Nodes when its
// session is opened, two streams that go on from there, its annotation and its
// condition. What a stream follows is not asked for.
//
// Networks, liveness and names are the cluster's own: there is one network,
// given by the configuration; CoreDNS answers names.
package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Annotation of a Node that holds its record.
const Annotation = "overlay.netctl.io/node"

// manager is the owner of the annotation in the Node's managed fields.
const manager = "netctl-overlayd"

// callWait bounds every call.
const callWait = 5 * time.Second

// Config says where the API is and which node this is.
type Config struct {
	// Kubeconfig is a file; "" is the pod's service account.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Node is the name of this host's Node object.
	Node string `json:"node"`
	// Network is the one that pods are in, and Ranges what the pods' CIDRs are
	// cut from (the controller manager's --cluster-cidr).
	Network string         `json:"network"`
	Ranges  []netip.Prefix `json:"ranges"`
	// PoolBits4 and PoolBits6 are --node-cidr-mask-size of each family; 0 stands
	// for Kubernetes' defaults, 24 and 64.
	PoolBits4 int `json:"poolBits4,omitempty"`
	PoolBits6 int `json:"poolBits6,omitempty"`
	// Group is the network's, 1 to 65535; 0 is 1.
	Group uint16 `json:"group,omitempty"`
	// Definition is the network's configuration list.
	Definition json.RawMessage `json:"definition,omitempty"`
}

// A Store is a client of the API.
type Store struct {
	config  Config
	network store.Network
	log     *slog.Logger
	nodes   metadata.Getter
	full    dynamic.Interface
	address string

	// own is this host's Node as a stream has it, others are the records of all;
	// nil while no stream follows them.
	own    atomic.Pointer[ownNode]
	others atomic.Pointer[roll]
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Crier = (*Store)(nil)
)

func nodeResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
}

// Open reads the configuration and the credentials. It does not connect.
func Open(_ context.Context, c Config, log *slog.Logger) (*Store, error) {
	if c.Node == "" {
		return nil, errors.New("kubernetes store: node is empty: give the name of this host's Node")
	}
	network, err := c.network()
	if err != nil {
		return nil, fmt.Errorf("kubernetes store: %w", err)
	}
	access, err := c.access()
	if err != nil {
		return nil, fmt.Errorf("kubernetes store: %w", err)
	}
	nodes, err := metadata.NewForConfig(access)
	if err != nil {
		return nil, fmt.Errorf("kubernetes store: %w", err)
	}
	full, err := dynamic.NewForConfig(access)
	if err != nil {
		return nil, fmt.Errorf("kubernetes store: %w", err)
	}
	return &Store{config: c, network: network, log: log, nodes: nodes.Resource(nodeResource()), full: full, address: access.Host}, nil
}

func (c Config) network() (store.Network, error) {
	n := store.Network{
		Schema: store.Schema, Name: c.Network, Ranges: c.Ranges, PoolBits4: c.PoolBits4, PoolBits6: c.PoolBits6,
		Group: cmp.Or(c.Group, 1), Definition: c.Definition,
		FastPath: store.FastOff, // services translate addresses, and policies look at what is forwarded
	}
	if n.PoolBits6 == 0 {
		n.PoolBits6 = 64
	}
	return n, n.Check()
}

func (c Config) access() (*rest.Config, error) {
	var access *rest.Config
	var err error
	if c.Kubeconfig != "" {
		access, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	} else {
		access, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, err
	}
	access.UserAgent = manager
	// A node makes a handful of calls; the client's own brake would only delay
	// the ones after a loss of the API.
	access.QPS = -1
	return access, nil
}

// Kind is "kubernetes".
func (s *Store) Kind() string { return "kubernetes" }

// Can only show nodes and keep this one's record: the rest is the cluster's.
func (s *Store) Can() store.Abilities { return store.Abilities{Records: true} }

// Close has nothing to end.
func (s *Store) Close() error { return nil }

// failed says what could not be done, and whether trying again may help.
func (s *Store) failed(what string, err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsTimeout(err) {
		return fmt.Errorf("kubernetes API at %s: %s: %w: %w", s.address, what, store.ErrUnreachable, err)
	}
	return fmt.Errorf("kubernetes API at %s: %s: %w", s.address, what, err)
}

// An ownNode is this host's Node, whole.
type ownNode struct {
	uid     string
	version int64          // its resourceVersion
	pools   []netip.Prefix // spec.podCIDRs
	record  store.Node     // the annotation; zero if there is none
}

// ownNow gives this host's Node: as a stream has it, or else it is read.
func (s *Store) ownNow(ctx context.Context) (*ownNode, error) {
	if own := s.own.Load(); own != nil {
		return own, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	_, own, err := s.readOwn(ctx)
	return own, err
}

// readOwn reads this host's Node, as a list: a stream can go on from that.
func (s *Store) readOwn(ctx context.Context) (*unstructured.UnstructuredList, *ownNode, error) {
	list, err := s.full.Resource(nodeResource()).List(ctx, metav1.ListOptions{FieldSelector: s.ownField()})
	if err != nil {
		return nil, nil, s.failed("read node "+s.config.Node, err)
	}
	if len(list.Items) == 0 {
		return nil, nil, fmt.Errorf("node %s: %w in the cluster: key node must be the name of this host's Node", s.config.Node, store.ErrNotFound)
	}
	own, err := s.interpret(&list.Items[0])
	return list, own, err
}

func (s *Store) interpret(object *unstructured.Unstructured) (*ownNode, error) {
	n := &ownNode{uid: string(object.GetUID())}
	n.version, _ = strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	cidrs, _, err := unstructured.NestedStringSlice(object.Object, "spec", "podCIDRs")
	if err != nil {
		return nil, fmt.Errorf("node %s: spec.podCIDRs: %w", s.config.Node, err)
	}
	for _, text := range cidrs {
		pool, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("node %s: spec.podCIDRs: %w", s.config.Node, err)
		}
		if !s.network.Has(pool) {
			return nil, fmt.Errorf("node %s: spec.podCIDRs has %s, which is no pool of network %s (ranges %v): set ranges and poolBits to the cluster's", s.config.Node, pool, s.network.Name, s.network.Ranges)
		}
		n.pools = append(n.pools, pool)
	}
	if text, has := object.GetAnnotations()[Annotation]; has {
		if n.record, err = parse(text, s.config.Node); err != nil {
			s.log.Warn("this node's own annotation can't be read and will be written anew", "error", err)
		}
	}
	return n, nil
}

// parse reads an annotation.
func parse(text, node string) (store.Node, error) {
	var n store.Node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return n, err
	}
	if n.Schema > store.Schema {
		return n, fmt.Errorf("schema %d was written by a newer program; this one knows %d: update it", n.Schema, store.Schema)
	}
	if string(n.ID) != node {
		return n, fmt.Errorf("the value names node %q", n.ID)
	}
	return n, n.Check()
}

// apply writes this node's annotation; with nil it takes it away. The object's
// UID guards against a Node that was deleted and made anew meanwhile.
func (s *Store) apply(ctx context.Context, uid string, record *store.Node) error {
	meta := map[string]any{"name": s.config.Node, "uid": uid}
	if record != nil {
		raw, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("encode the record of node %s: %w", s.config.Node, err)
		}
		meta["annotations"] = map[string]string{Annotation: string(raw)}
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	written, err := s.patch(ctx, "write the annotation", types.ApplyPatchType, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": meta})
	if err != nil {
		return err
	}
	// Until the stream tells of it, nobody is to write the same again.
	if own, err := s.interpret(written); err == nil && s.own.Load() != nil {
		s.follow(own)
	}
	return nil
}

// follow takes this host's Node over as a stream or an answer has it, unless what
// is known is newer.
func (s *Store) follow(own *ownNode) {
	for {
		known := s.own.Load()
		if known != nil && known.uid == own.uid && known.version > own.version || s.own.CompareAndSwap(known, own) {
			return
		}
	}
}

func (s *Store) patch(ctx context.Context, what string, kind types.PatchType, body any, subresources ...string) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode a patch of node %s: %w", s.config.Node, err)
	}
	force := true // nobody else has a business with this field
	options := metav1.PatchOptions{FieldManager: manager}
	if kind == types.ApplyPatchType {
		options.Force = &force
	}
	object, err := s.full.Resource(nodeResource()).Patch(ctx, s.config.Node, kind, raw, options, subresources...)
	switch {
	case err == nil:
		return object, nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return nil, fmt.Errorf("node %s: %s: %w: %w", s.config.Node, what, store.ErrConflict, err)
	}
	return nil, s.failed(what+" of node "+s.config.Node, err)
}

// Ready tells the cluster that the node's network works: the condition
// NetworkUnavailable becomes False. Call it after the first complete pass.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	now := metav1.Now().UTC().Format(time.RFC3339)
	condition := map[string]any{
		"type": "NetworkUnavailable", "status": "False", "reason": "OverlayIsUp", "message": "netctl's overlay is running on this node",
		"lastHeartbeatTime": now, "lastTransitionTime": now,
	}
	_, err := s.patch(ctx, "set condition NetworkUnavailable", types.StrategicMergePatchType,
		map[string]any{"status": map[string]any{"conditions": []any{condition}}}, "status")
	return err
}

// cluster is the identity of the cluster: by convention the UID of its namespace
// kube-system.
func (s *Store) cluster(ctx context.Context) (store.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	object, err := s.full.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil {
		return store.Cluster{}, s.failed("read namespace kube-system", err)
	}
	return store.Cluster{Schema: store.Schema, ID: store.ClusterID(object.GetUID())}, nil
}
