package etcd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

const (
	// entryAttempts is how often a node reads everything to come in together with
	// its claims. The first in a new cluster conflict with one another, whatever
	// they claim.
	entryAttempts = 2
	// claimAttempts is how many pools it asks for with what it has read.
	claimAttempts = 8
	// entryClaims is how many claims it comes in with; etcd refuses transactions
	// of more than 128 comparisons. The rest is claimed one by one.
	entryClaims = 32
)

// Session makes a node known and keeps it alive.
func (s *Store) Session(ctx context.Context, r store.Registration) (store.Session, error) {
	if err := r.Node.Check(); err != nil {
		return nil, err
	}
	n := &session{store: s, id: r.Node.ID, boot: r.Boot, lost: make(chan struct{})}
	attempt := 0
	err := retry(ctx, "register node "+r.Node.Name, func() (bool, error) {
		// Where others are quicker with the pools, the node comes in first.
		if attempt++; attempt > entryAttempts {
			r.Needs = nil
		}
		return n.register(ctx, r)
	})
	if err == nil {
		err = n.keepAlive()
	}
	if err != nil {
		if n.granted {
			_ = n.revoke(ctx)
		}
		return nil, err
	}
	return n, nil
}

// A scene is what a registration is decided on, read at one revision: all that
// a Watch begins with, who owns which pool, and what is the node's own.
type scene struct {
	revision int64
	config   stored[store.Cluster]
	node     stored[store.Node]
	live     stored[store.Liveness]
	tomb     stored[store.Tombstone]
	vteps    map[netip.Addr]stored[owner]
	claims   []store.Claim // the node's own
	// taken are everybody's pools, by network; choices what was seen of them since.
	taken   map[string][]netip.Prefix
	choices map[string]*choice

	decoding sync.WaitGroup // of claims, taken and all
	all      *agreement
}

// everybody is what all agree on, when it has been decoded.
func (sc *scene) everybody() *agreement {
	sc.decoding.Wait()
	return sc.all
}

// An owner is the value of a key that belongs to one node.
type owner struct {
	Schema int          `json:"schema,omitempty"`
	ID     store.NodeID `json:"id"`
}

func (s *Store) scene(ctx context.Context, r store.Registration) (*scene, error) {
	ops := s.everything()
	pools, live, tomb, vteps := len(ops), len(ops)+1, len(ops)+2, len(ops)+3
	ops = append(ops, all(s.key(poolDir)), clientv3.OpGet(s.liveKey(r.Node.ID)), clientv3.OpGet(s.tombKey(r.Node.ID)))
	for _, a := range r.Node.VTEP {
		ops = append(ops, clientv3.OpGet(s.vtepKey(a)))
	}
	response, err := s.read(ctx, "read what there is", ops...)
	if err != nil {
		return nil, err
	}
	sc := &scene{revision: response.Header.Revision, choices: map[string]*choice{}}
	// Beside each other, and beside what is asked for next: there are as many claims
	// as nodes.
	sc.decoding.Go(func() { sc.readPools(s, r.Node.ID, found(response, pools)) })
	sc.decoding.Go(func() {
		sc.all = s.agreed(response)
		sc.all.prepare()
	})
	if sc.config, err = first[store.Cluster](response, 0); err != nil {
		return nil, err
	}
	if sc.node, err = among[store.Node](found(response, 1), s.nodeKey(r.Node.ID)); err != nil {
		return nil, err
	}
	if sc.live, err = first[store.Liveness](response, live); err != nil {
		return nil, err
	}
	if sc.tomb, err = first[store.Tombstone](response, tomb); err != nil {
		return nil, err
	}
	sc.vteps, err = owners(response, vteps, r.Node.VTEP)
	return sc, err
}

// readPools reads of others' claims only which pools they are: there are as many
// as nodes. An ID of other characters than letters and digits may be written in
// another way.
func (sc *scene) readPools(s *Store, id store.NodeID, kvs []*mvccpb.KeyValue) {
	sc.taken = map[string][]netip.Prefix{}
	var own []*mvccpb.KeyValue
	for _, kv := range kvs {
		network, pool, err := s.parsePoolKey(string(kv.Key))
		if err != nil {
			s.log.Warn("skipped a pool", "error", err)
			continue
		}
		sc.taken[network] = append(sc.taken[network], pool)
		if bytes.Contains(kv.Value, []byte(id)) || bytes.Contains(kv.Value, []byte(`\`)) {
			own = append(own, kv)
		}
	}
	sc.claims = ownedBy(s.readClaims(own), id)
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

// register reads what there is and writes what a registration asks for. Where
// others were quicker with a pool, another one is asked for without reading
// everything again; where anything else has changed it is not done.
func (n *session) register(ctx context.Context, r store.Registration) (done bool, err error) {
	sc, err := n.store.scene(ctx, r)
	if err != nil {
		return false, err
	}
	n.takeOver(sc.live, r)
	if err := n.admit(sc, r); err != nil {
		return false, err
	}
	if n.lease == 0 {
		if err := n.grant(ctx); err != nil {
			return false, err
		}
		if r.Opened != nil {
			r.Opened(n.ID())
		}
	}
	n.made = sc.live.made
	for range claimAttempts {
		e := n.entry(sc, r)
		if len(e.then) == 0 { // a restart of the agent: everything is as it was
			n.enter(sc, e, 0)
			return true, nil
		}
		response, err := n.store.transact(ctx, "register node "+r.Node.Name, e.compare(), e.then, e.otherwise(n.store))
		if err != nil {
			return false, err
		}
		if response.Succeeded {
			if !n.holds(sc.live) {
				n.made = response.Header.Revision
			}
			n.enter(sc, e, response.Header.Revision)
			return true, nil
		}
		if !e.refused(n.store, response) {
			break
		}
	}
	return false, nil
}

// takeOver goes on with the lease of an earlier process on this boot: where its
// key is there, the lease is alive.
func (n *session) takeOver(live stored[store.Liveness], r store.Registration) {
	if n.lease != 0 || !live.exists() || live.value.Session != r.Takeover || live.value.Boot != r.Boot {
		return
	}
	if id, err := strconv.ParseInt(r.Takeover, 16, 64); err == nil {
		n.lease = clientv3.LeaseID(id)
	}
}

// grant gets a new lease.
func (n *session) grant(ctx context.Context) error {
	client, err := n.store.connection()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	lease, err := client.Grant(ctx, n.store.config.SessionSeconds)
	if err != nil {
		return n.store.failed("open a session", err)
	}
	n.lease, n.granted = lease.ID, true
	return nil
}

// sessionID is a lease's ID as text.
func sessionID(lease clientv3.LeaseID) string { return strconv.FormatInt(int64(lease), 16) }

// admit refuses a node that may not come in.
func (n *session) admit(sc *scene, r store.Registration) error {
	have := sc.config.value.ID
	if r.Cluster != "" && have != r.Cluster && (sc.config.exists() || !r.AcceptReverted && sc.revision >= int64(r.Seen)) {
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
	return vtepsFree(sc.vteps, r.Node.ID, func(id store.NodeID) string { return nameOf(sc.everybody().nodes[n.store.nodeKey(id)], id) })
}

// nameOf is what people call a node.
func nameOf(n store.Node, id store.NodeID) string { return cmp.Or(n.Name, string(id)) }

// vtepsFree refuses tunnel addresses that another node has.
func vtepsFree(vteps map[netip.Addr]stored[owner], me store.NodeID, name func(store.NodeID) string) error {
	for a, o := range vteps {
		if o.exists() && o.value.ID != me {
			return &store.TakenError{What: "tunnel address " + a.String(), Holder: name(o.value.ID),
				Hint: "two hosts can't have one address; if that host is gone for good, reclaim it"}
		}
	}
	return nil
}

// An entry is the transaction that brings a node in, with nothing to write where
// all is there, and what it makes so.
type entry struct {
	depends []dependency
	then    []clientv3.Op
	record  store.Node
	cluster store.ClusterID
	written bool          // whether the record is
	owned   []store.Claim // that were found
	claimed []bid         // with this very transaction
}

// A dependency is a key, and the revision at which it was read.
type dependency struct {
	key string
	rev int64
}

// A bid is a claim, what it was chosen from, and where to look if it is refused.
type bid struct {
	store.Claim
	pools *choice
	next  span
}

func (n *session) entry(sc *scene, r store.Registration) *entry {
	s, id, all := n.store, r.Node.ID, sc.everybody()
	e := &entry{cluster: sc.config.value.ID, owned: sc.owned(), record: r.Node}
	e.depends = []dependency{{s.key(configKey), sc.config.rev}, {s.nodeKey(id), sc.node.rev}, {s.liveKey(id), sc.live.rev}}
	if !sc.config.exists() {
		// One that lost everything is the same cluster's again, once that is accepted.
		if e.cluster = r.Cluster; e.cluster == "" {
			e.cluster = newClusterID()
		}
		e.then = append(e.then, put(s.key(configKey), store.Cluster{Schema: store.Schema, ID: e.cluster}))
	}
	anew := !n.holds(sc.live)
	if anew {
		live := store.Liveness{ID: id, Boot: r.Boot, Session: n.ID()}
		e.then = append(e.then, put(s.liveKey(id), live, clientv3.WithLease(n.lease)))
	}
	e.record.Schema, e.record.Epoch = store.Schema, sc.epoch(r)
	if r.Needs != nil {
		n.claimNeeds(sc, e, r.Needs(slices.Collect(maps.Values(all.networks)), e.owned))
	}
	e.record.Pools = poolsOf(e.claims())
	if e.written = !sc.node.exists() || !e.record.Equal(sc.node.value); e.written {
		e.then = append(e.then, put(s.nodeKey(id), e.record))
	}
	depends, then := s.moveVTEPs(id, sc.node.value.VTEP, r.Node.VTEP, sc.vteps, anew)
	e.depends, e.then = append(e.depends, depends...), append(e.then, then...)
	return e
}

// claims are those that the node has when it is in.
func (e *entry) claims() []store.Claim {
	all := slices.Clone(e.owned)
	for _, b := range e.claimed {
		all = append(all, b.Claim)
	}
	return all
}

func (e *entry) compare() (all []clientv3.Cmp) {
	for _, d := range e.depends {
		all = append(all, unchanged(d.key, d.rev))
	}
	return all
}

// otherwise reads why the entry was refused.
func (e *entry) otherwise(s *Store) (ops []clientv3.Op) {
	if len(e.claimed) == 0 {
		return nil
	}
	for _, d := range e.depends {
		ops = append(ops, clientv3.OpGet(d.key, clientv3.WithKeysOnly()))
	}
	for _, b := range e.claimed {
		ops = append(ops, s.look(b.pools, b.next))
	}
	return ops
}

// refused takes over what was read, and tells that somebody else has one of the
// pools and nothing else is the matter.
func (e *entry) refused(s *Store, response *clientv3.TxnResponse) bool {
	if len(e.claimed) == 0 {
		return false
	}
	own := map[string]bool{}
	for _, b := range e.claimed {
		own[s.poolKey(b.Network, b.Pool)] = true
	}
	for i, d := range e.depends {
		kvs := found(response, i)
		if is := len(kvs) > 0; !own[d.key] && (is != (d.rev != 0) || is && kvs[0].ModRevision != d.rev) {
			return false
		}
	}
	for i, b := range e.claimed {
		b.pools.see(b.next, append(s.takenPools(found(response, len(e.depends)+i)), b.Pool))
	}
	return true
}

// epoch goes on counting where the node was reclaimed.
func (sc *scene) epoch(r store.Registration) int64 {
	switch {
	case sc.node.exists():
		return sc.node.value.Epoch
	case sc.tomb.exists():
		return max(r.Node.Epoch, sc.tomb.value.Epoch+1)
	}
	return r.Node.Epoch
}

// owned are the node's claims in the order of its record. (The record lists
// exactly these: whatever makes or takes a claim writes both.)
func (sc *scene) owned() []store.Claim {
	own := slices.Clone(sc.claims)
	place := func(c store.Claim) int { return slices.Index(sc.node.value.Pools[c.Network], c.Pool) }
	slices.SortStableFunc(own, func(a, b store.Claim) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(place(a), place(b)))
	})
	return own
}

// claimNeeds adds claims of pools that were free when it was last looked.
func (n *session) claimNeeds(sc *scene, e *entry, needs []store.ClaimRequest) {
	s := n.store
	for _, need := range needs[:min(len(needs), entryClaims)] {
		network, ok := sc.all.networks[s.netKey(need.Network)]
		if !ok {
			continue
		}
		pools := sc.choice(network, need.Is4)
		pool, ok := pools.pick(n.id, need.Prefer)
		if !ok {
			continue
		}
		key := s.poolKey(need.Network, pool)
		e.depends = append(e.depends, dependency{key, 0}, dependency{s.netKey(need.Network), int64(network.Revision)})
		e.then = append(e.then, put(key, ownership{Owner: n.id, Epoch: e.record.Epoch}))
		e.claimed = append(e.claimed, bid{store.Claim{Network: need.Network, Pool: pool, Owner: n.id, Epoch: e.record.Epoch}, pools, pools.elsewhere()})
	}
}

// choice is what is known of a network's pools: which were taken when the scene
// was read, and what was seen since.
func (sc *scene) choice(network store.Network, is4 bool) *choice {
	key := fmt.Sprint(network.Name, is4)
	if sc.choices[key] == nil {
		pools := newChoice(network, is4)
		pools.see(everywhere, sc.taken[network.Name])
		sc.choices[key] = pools
	}
	return sc.choices[key]
}

// enter takes over what was found, and what was written at a revision.
func (n *session) enter(sc *scene, e *entry, revision int64) {
	for i := range e.claimed {
		e.claimed[i].Token = store.Revision(revision)
	}
	n.read = sc.all
	n.entered = store.Entry{Cluster: e.cluster, Owned: e.claims()}
	if sc.tomb.exists() && sc.tomb.value.Epoch+1 == e.record.Epoch {
		tomb := sc.tomb.value
		tomb.Revision = store.Revision(sc.tomb.rev)
		n.entered.Tombstone = &tomb
	}
	e.record.Revision = store.Revision(sc.node.rev)
	if e.written {
		e.record.Revision = store.Revision(revision)
	}
	n.setSelf(e.record)
}

func poolsOf(claims []store.Claim) map[string][]netip.Prefix {
	pools := map[string][]netip.Prefix{}
	for _, c := range claims {
		pools[c.Network] = append(pools[c.Network], c.Pool)
	}
	return pools
}

// moveVTEPs takes the new tunnel addresses and gives up those that are not the
// node's any more. With touch those that stay are written again: their revision
// tells when the node's last session began.
func (s *Store) moveVTEPs(id store.NodeID, old, now []netip.Addr, owners map[netip.Addr]stored[owner], touch bool) (depends []dependency, then []clientv3.Op) {
	for _, a := range now {
		depends = append(depends, dependency{s.vtepKey(a), owners[a].rev})
		if !owners[a].exists() || touch {
			then = append(then, put(s.vtepKey(a), owner{ID: id}))
		}
	}
	for _, a := range old {
		if !slices.Contains(now, a) {
			then = append(then, clientv3.OpDelete(s.vtepKey(a)))
		}
	}
	return depends, then
}

// newClusterID makes 64 random bits.
func newClusterID() store.ClusterID {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	return store.ClusterID(hex.EncodeToString(raw))
}
