package etcd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Session makes a node known and keeps it alive.
func (s *Store) Session(ctx context.Context, r store.Registration) (store.Session, error) {
	if err := r.Node.Check(); err != nil {
		return nil, err
	}
	lease, err := s.lease(ctx, r)
	if err != nil {
		return nil, err
	}
	session := &session{store: s, id: r.Node.ID, boot: r.Boot, lease: lease, lost: make(chan struct{})}
	if err := retry(ctx, "register node "+r.Node.Name, func() (bool, error) { return session.register(ctx, r) }); err != nil {
		if sessionID(lease) != r.Takeover {
			session.revoke(ctx)
		}
		return nil, err
	}
	if err := session.keepAlive(); err != nil {
		return nil, err
	}
	return session, nil
}

// lease is the one to be taken over, if it lives, or a new one.
func (s *Store) lease(ctx context.Context, r store.Registration) (clientv3.LeaseID, error) {
	client, err := s.connection()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if id, err := strconv.ParseInt(r.Takeover, 16, 64); err == nil {
		if _, err := client.KeepAliveOnce(ctx, clientv3.LeaseID(id)); err == nil {
			return clientv3.LeaseID(id), nil
		}
	}
	grant, err := client.Grant(ctx, s.config.SessionSeconds)
	if err != nil {
		return 0, s.failed("open a session", err)
	}
	return grant.ID, nil
}

// sessionID is a lease's ID as text.
func sessionID(lease clientv3.LeaseID) string { return strconv.FormatInt(int64(lease), 16) }

// What a registration is decided on.
type scene struct {
	revision int64
	config   stored[store.Cluster]
	live     stored[store.Liveness]
	node     stored[store.Node]
	vteps    map[netip.Addr]stored[owner]
}

// An owner is the value of a key that belongs to one node.
type owner struct {
	ID store.NodeID `json:"id"`
}

func (s *Store) scene(ctx context.Context, r store.Registration) (*scene, error) {
	ops := []clientv3.Op{
		clientv3.OpGet(s.key(configKey)), clientv3.OpGet(s.liveKey(r.Node.ID)), clientv3.OpGet(s.nodeKey(r.Node.ID)),
	}
	for _, a := range r.Node.VTEP {
		ops = append(ops, clientv3.OpGet(s.vtepKey(a)))
	}
	response, err := s.read(ctx, "read what node "+r.Node.Name+" is", ops...)
	if err != nil {
		return nil, err
	}
	sc := &scene{revision: response.Header.Revision}
	if sc.config, err = first[store.Cluster](response, 0); err != nil {
		return nil, err
	}
	if sc.live, err = first[store.Liveness](response, 1); err != nil {
		return nil, err
	}
	if sc.node, err = first[store.Node](response, 2); err != nil {
		return nil, err
	}
	sc.vteps, err = owners(response, 3, r.Node.VTEP)
	return sc, err
}

func owners(response *clientv3.TxnResponse, from int, vteps []netip.Addr) (map[netip.Addr]stored[owner], error) {
	result := map[netip.Addr]stored[owner]{}
	for i, a := range vteps {
		v, err := first[owner](response, from+i)
		if err != nil {
			return nil, err
		}
		result[a] = v
	}
	return result, nil
}

// register is one attempt to write what a registration asks for.
func (n *session) register(ctx context.Context, r store.Registration) (done bool, err error) {
	sc, err := n.store.scene(ctx, r)
	if err != nil {
		return false, err
	}
	if err := n.admit(ctx, sc, r); err != nil {
		return false, err
	}
	compare, then := n.entry(sc, r)
	n.self = r.Node
	n.self.Pools, n.self.Epoch = sc.node.value.Pools, max(sc.node.value.Epoch, r.Node.Epoch)
	if len(then) == 0 {
		n.made = sc.live.made
		return true, nil // a restart of the agent: everything is as it was
	}
	response, err := n.store.transact(ctx, "register node "+r.Node.Name, compare, then, nil)
	if err != nil || !response.Succeeded {
		return false, err
	}
	n.made = sc.live.made
	if !n.holds(sc.live) {
		n.made = response.Header.Revision
	}
	return true, nil
}

// admit refuses a node that may not come in.
func (n *session) admit(ctx context.Context, sc *scene, r store.Registration) error {
	have := sc.config.value.ID
	if r.Cluster != "" && sc.config.exists() && have != r.Cluster {
		return &store.ClusterError{Have: have, Want: r.Cluster}
	}
	if sc.revision < int64(r.Seen) && !r.AcceptReverted {
		return &store.RevertedError{Have: store.Revision(sc.revision), Seen: r.Seen}
	}
	if sc.live.exists() && !n.holds(sc.live) {
		return &store.TakenError{
			What: "node identity " + string(r.Node.ID), Holder: nameOf(sc.node.value, r.Node.ID),
			Hint: fmt.Sprintf("it has a live session of boot %s; a copied state directory needs a new identity, and after a crash the session ends by itself within %d s",
				sc.live.value.Boot, n.store.config.SessionSeconds),
		}
	}
	return n.store.vtepsFree(ctx, sc.vteps, r.Node.ID)
}

// nameOf is what people call a node.
func nameOf(n store.Node, id store.NodeID) string {
	if n.Name != "" {
		return n.Name
	}
	return string(id)
}

// vtepsFree refuses tunnel addresses that another node has.
func (s *Store) vtepsFree(ctx context.Context, vteps map[netip.Addr]stored[owner], me store.NodeID) error {
	for a, o := range vteps {
		if !o.exists() || o.value.ID == me {
			continue
		}
		taken := &store.TakenError{What: "tunnel address " + a.String(), Holder: string(o.value.ID), Hint: "two hosts can't have one address; if that host is gone for good, reclaim it"}
		if response, err := s.read(ctx, "read who has "+a.String(), clientv3.OpGet(s.nodeKey(o.value.ID))); err == nil {
			if holder, err := first[store.Node](response, 0); err == nil {
				taken.Holder = nameOf(holder.value, o.value.ID)
			}
		}
		return taken
	}
	return nil
}

// entry is the transaction that brings a node in: nothing where all is there.
func (n *session) entry(sc *scene, r store.Registration) (compare []clientv3.Cmp, then []clientv3.Op) {
	s, id := n.store, r.Node.ID
	compare = []clientv3.Cmp{
		unchanged(s.key(configKey), sc.config.rev), unchanged(s.nodeKey(id), sc.node.rev), unchanged(s.liveKey(id), sc.live.rev),
	}
	if !sc.config.exists() {
		then = append(then, put(s.key(configKey), store.Cluster{Schema: store.Schema, ID: newClusterID()}))
	}
	if !n.holds(sc.live) {
		live := store.Liveness{ID: id, Boot: r.Boot, Session: n.ID()}
		then = append(then, put(s.liveKey(id), live, clientv3.WithLease(n.lease)))
	}
	record := r.Node
	record.Schema, record.Pools = store.Schema, sc.node.value.Pools
	if sc.node.exists() {
		record.Epoch = sc.node.value.Epoch
	}
	if !sc.node.exists() || !record.Equal(sc.node.value) {
		then = append(then, put(s.nodeKey(id), record))
	}
	moreCompare, moreThen := s.moveVTEPs(id, sc.node.value.VTEP, record.VTEP, sc.vteps)
	return append(compare, moreCompare...), append(then, moreThen...)
}

// moveVTEPs takes the new tunnel addresses and gives up those that are not the
// node's any more.
func (s *Store) moveVTEPs(id store.NodeID, old, now []netip.Addr, owners map[netip.Addr]stored[owner]) (compare []clientv3.Cmp, then []clientv3.Op) {
	for _, a := range now {
		compare = append(compare, unchanged(s.vtepKey(a), owners[a].rev))
		if !owners[a].exists() {
			then = append(then, put(s.vtepKey(a), owner{ID: id}))
		}
	}
	for _, a := range old {
		if !slices.Contains(now, a) {
			then = append(then, clientv3.OpDelete(s.vtepKey(a)))
		}
	}
	return compare, then
}

// newClusterID makes 64 random bits.
func newClusterID() store.ClusterID {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	return store.ClusterID(hex.EncodeToString(raw))
}
