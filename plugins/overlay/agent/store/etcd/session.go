package etcd

import (
	"context"
	"fmt"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A session is this node's lease and the right to write what is its own.
type session struct {
	store *Store
	id    store.NodeID
	boot  string
	lease clientv3.LeaseID
	// granted: the lease is this session's own, and not taken over.
	granted bool
	entered store.Entry
	// made is the revision at which this session's liveness key was made.
	made int64

	stop context.CancelFunc
	once sync.Once
	lost chan struct{}

	mu   sync.Mutex
	self store.Node // as it was last written or found
	read *agreement // when the session was opened; nil when a Watch has it
}

var _ store.Session = (*session)(nil)

// ID is the lease's.
func (n *session) ID() string { return sessionID(n.lease) }

// Entry is what was read and written when the session was opened.
func (n *session) Entry() store.Entry { return n.entered }

// Self is the record that this session last wrote or found.
func (n *session) Self() store.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

func (n *session) setSelf(record store.Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.self = record
}

// know adds claims to what this session knows to be the node's.
func (n *session) know(claims ...store.Claim) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range claims {
		if !slices.Contains(n.self.Pools[c.Network], c.Pool) {
			n.self = with(n.self, c.Network, c.Pool)
		}
	}
}

// Lost is closed when the lease is gone.
func (n *session) Lost() <-chan struct{} { return n.lost }

func (n *session) takeRead() *agreement {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.read
	n.read = nil
	return a
}

// holds tells whether a liveness key is this session's.
func (n *session) holds(live stored[store.Liveness]) bool {
	return live.exists() && live.value.Session == n.ID() && live.value.Boot == n.boot
}

// keepAlive has the library renew the lease at a third of its life. The
// channel ends when the lease has expired, by the server's word or because
// nothing was heard for its whole life.
func (n *session) keepAlive() error {
	client, err := n.store.connection()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	answers, err := client.KeepAlive(ctx, n.lease)
	if err != nil {
		cancel()
		return n.store.failed("keep the session alive", err)
	}
	n.stop = cancel
	go func() {
		floor := int64(0)
		for answer := range answers {
			if n.store.heard(answer.Revision, floor) {
				break // open another session, which looks closely
			}
			floor = n.store.newest.Load()
		}
		if ctx.Err() == nil {
			n.once.Do(func() { close(n.lost) })
		}
	}()
	return nil
}

// Close ends the session; with keep it waits for the next process.
func (n *session) Close(ctx context.Context, keep bool) error {
	n.stop()
	if keep {
		return nil
	}
	return n.revoke(ctx)
}

func (n *session) revoke(ctx context.Context) error {
	client, err := n.store.connection()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if _, err := client.Revoke(ctx, n.lease); err != nil {
		return n.store.failed("end the session", err)
	}
	return nil
}

// alive compares with this session's liveness key still being there: what a
// session that was lost wrote late must not appear.
func (n *session) alive() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(n.store.liveKey(n.id)), "=", n.made)
}

// Owned reads this node's claims from the store.
func (n *session) Owned(ctx context.Context) ([]store.Claim, error) {
	claims, err := n.store.Pools(ctx, "")
	if err != nil {
		return nil, err
	}
	own := ownedBy(claims, n.id)
	n.know(own...)
	return own, nil
}

func ownedBy(claims []store.Claim, id store.NodeID) []store.Claim {
	var own []store.Claim
	for _, c := range claims {
		if c.Owner == id {
			own = append(own, c)
		}
	}
	return own
}

// record reads this node's own record and other keys at one revision.
func (n *session) record(ctx context.Context, more ...clientv3.Op) (*clientv3.TxnResponse, stored[store.Node], error) {
	response, err := n.store.read(ctx, "read the record of node "+string(n.id), append([]clientv3.Op{clientv3.OpGet(n.store.nodeKey(n.id))}, more...)...)
	if err != nil {
		return nil, stored[store.Node]{}, err
	}
	node, err := first[store.Node](response, 0)
	if err == nil && !node.exists() {
		err = fmt.Errorf("record of node %s: %w: it left, or was reclaimed", n.id, store.ErrNotFound)
	}
	return response, node, err
}

// PutNames publishes a container's names for as long as the session lives.
func (n *session) PutNames(ctx context.Context, names store.Names) error {
	names.Schema, names.Node = store.Schema, n.id
	key := n.store.namesKey(names.Network, string(n.id), names.Container)
	return n.write(ctx, "publish names of container "+names.Container, put(key, names, clientv3.WithLease(n.lease)))
}

// DeleteNames takes a container's names back.
func (n *session) DeleteNames(ctx context.Context, network, container string) error {
	key := n.store.namesKey(network, string(n.id), container)
	return n.write(ctx, "withdraw names of container "+container, clientv3.OpDelete(key))
}

// write changes what only a living session may change.
func (n *session) write(ctx context.Context, what string, op clientv3.Op) error {
	response, err := n.store.transact(ctx, what, []clientv3.Cmp{n.alive()}, []clientv3.Op{op}, nil)
	if err == nil && !response.Succeeded {
		err = fmt.Errorf("etcd: %s: the session is gone: %w", what, store.ErrConflict)
	}
	return err
}
