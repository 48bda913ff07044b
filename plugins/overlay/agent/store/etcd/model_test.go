package etcd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/absence"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// TestModel has agents claim, release, update, leave, come back and reclaim one
// another at random, over paths that freeze and break, against a real server.
// An observer replays every revision and holds it to the invariants of
// observer.check; each success that an agent was told of is then looked up in
// the history.
//
// By default it is short; NETCTL_TEST_MODEL is its length in seconds.
func TestModel(t *testing.T) {
	t.Parallel()
	// About two pools for each agent: some exhaustion, and room for a claim that
	// was decided long ago to succeed if nothing prevents it.
	agents, length, pools := 8, 8*time.Second, "10.120.0.0/20"
	if text := os.Getenv("NETCTL_TEST_MODEL"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("NETCTL_TEST_MODEL: %v", err)
		}
		agents, length, pools = 50, time.Duration(seconds)*time.Second, "10.120.0.0/17"
	}
	server := etcdtest.Start(t)
	admin := open(t, server.Path(t), 0)
	ranges := []netip.Prefix{netip.MustParsePrefix(pools)}
	if _, err := admin.CreateNetwork(t.Context(), store.Network{Name: "model", Ranges: ranges}); err != nil {
		t.Fatal(err)
	}
	setPolicy(t, admin, 1, 1)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	seed := rand.Uint64()
	t.Logf("seed %d, %d agents", seed, agents)
	facts := &facts{}
	var running sync.WaitGroup
	for i, node := range storetest.Nodes(agents) {
		path := server.Path(t)
		a := &modelAgent{
			node: node, path: path, store: open(t, path, 2), facts: facts, admin: admin,
			random: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		running.Go(func() { a.live(ctx) })
		w := weather{path: path, random: rand.New(rand.NewPCG(seed, uint64(i+agents)))}
		running.Go(func() { w.live(ctx) })
	}
	running.Wait()
	client := server.Client(t)
	defer client.Close()
	o := replay(t, client, "/netctl/v1/"+t.Name()+"/")
	facts.check(t, o)
	t.Logf("%d revisions, %d successes looked up: %v", o.revisions, len(facts.list), facts.count)
	must := []string{"claim", "update", "enter"}
	if length > time.Minute { // until then chance decides
		must = append(must, "release", "leave", "enter with a pool", "reclaim", "reclaim by policy", "exhausted")
	}
	for _, what := range must {
		if facts.count[what] == 0 {
			t.Errorf("there was no success of kind %q: the check shows nothing of it", what)
		}
	}
}

// setPolicy has nodes reclaimed after so many seconds, from such a use on. The
// first session enters the cluster that has a policy.
func setPolicy(t *testing.T, s store.Store, after int64, above int) {
	t.Helper()
	node := storetest.Nodes(1)[0]
	node.ID, node.VTEP = "administrator", []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	session, err := s.Session(t.Context(), store.Registration{Node: node, Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	c := storetest.Await(t, s, "there is a view", func(store.View) bool { return true }).Cluster
	c.ReclaimAfter, c.ReclaimAbove = after, above
	_, err = s.UpdateCluster(t.Context(), c)
	if err := errors.Join(err, session.Leave(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// A fact is a success that an agent was told of: at that revision it had these
// claims.
type fact struct {
	what     string
	id       store.NodeID
	revision store.Revision
	claims   []store.Claim
}

type facts struct {
	mu    sync.Mutex
	list  []fact
	count map[string]int
}

func (f *facts) note(what string, id store.NodeID, revision store.Revision, claims ...store.Claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.count[what]++
	if revision != 0 {
		f.list = append(f.list, fact{what, id, revision, claims})
	}
}

// A modelAgent does at random what an agent may do, and believes what it is told.
type modelAgent struct {
	node    store.Node
	path    *etcdtest.Path
	store   store.Store
	admin   store.Store
	facts   *facts
	random  *rand.Rand
	session store.Session
	claims  []store.Claim
	watch   absence.Watch
}

func (a *modelAgent) live(ctx context.Context) {
	for ctx.Err() == nil {
		if a.session == nil {
			a.enter(ctx)
			continue
		}
		switch n := a.random.IntN(100); {
		case n < 30:
			a.claim(ctx)
		case n < 50:
			a.release(ctx)
		case n < 75:
			a.update(ctx)
		case n < 79:
			a.reclaim(ctx)
		case n < 83:
			a.reclaimByPolicy(ctx)
		case n < 88:
			a.leave(ctx)
		default:
			_ = a.session.Close(ctx, a.random.IntN(2) == 0)
			a.session = nil
		}
	}
}

// The weather breaks a path at random, whatever is under way on it: what was
// frozen arrives late, after the session it was sent in.
type weather struct {
	path   *etcdtest.Path
	random *rand.Rand
}

func (w weather) live(ctx context.Context) {
	for ctx.Err() == nil {
		w.last(ctx, 2*time.Second)
		if w.random.IntN(4) == 0 {
			w.path.Cut()
			w.last(ctx, 300*time.Millisecond)
		} else {
			// Up to twice a session's life, and less than the bound of a call.
			w.path.Freeze()
			w.last(ctx, 2*time.Second)
			w.last(ctx, 2500*time.Millisecond)
		}
		w.path.Heal()
	}
}

func (w weather) last(ctx context.Context, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(w.random.Int64N(int64(most)))):
	}
}

func (a *modelAgent) pause(ctx context.Context, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(a.random.Int64N(int64(most)))):
	}
}

// enter opens a session and reads what the node owns, as an agent must.
func (a *modelAgent) enter(ctx context.Context) {
	r := store.Registration{Node: a.node, Boot: "b"}
	if a.random.IntN(2) == 0 {
		r.Needs = func(_ []store.Network, owned []store.Claim) []store.ClaimRequest {
			return []store.ClaimRequest{{Network: "model", Is4: true}}[min(len(owned), 1):]
		}
	}
	session, err := a.store.Session(ctx, r)
	if err != nil {
		a.pause(ctx, 200*time.Millisecond)
		return
	}
	if e := session.Entry(); r.Needs != nil && len(e.Owned) > 0 {
		a.facts.note("enter with a pool", a.node.ID, session.Self().Revision, e.Owned...)
	}
	owned, err := session.Owned(ctx)
	if err != nil {
		_ = session.Close(ctx, false)
		return
	}
	a.session, a.claims = session, owned
	a.facts.note("enter", a.node.ID, 0)
}

func (a *modelAgent) claim(ctx context.Context) {
	c, err := a.session.Claim(ctx, store.ClaimRequest{Network: "model", Is4: true})
	var full *store.ExhaustedError
	switch {
	case errors.As(err, &full):
		a.facts.note("exhausted", a.node.ID, 0)
	case err != nil:
		a.doubt()
	default:
		a.claims = append(a.claims, c)
		a.facts.note("claim", a.node.ID, c.Token, c)
	}
}

func (a *modelAgent) release(ctx context.Context) {
	if len(a.claims) == 0 {
		return
	}
	i := a.random.IntN(len(a.claims))
	c := a.claims[i]
	a.claims = append(a.claims[:i:i], a.claims[i+1:]...)
	if err := a.session.Release(ctx, c); err != nil {
		a.doubt()
		return
	}
	a.facts.note("release", a.node.ID, 0)
}

func (a *modelAgent) update(ctx context.Context) {
	record := a.node
	record.MTU = 1280 + a.random.IntN(200)
	record.Pools = map[string][]netip.Prefix{}
	for _, c := range a.claims {
		record.Pools["model"] = append(record.Pools["model"], c.Pool)
	}
	written, err := a.session.Update(ctx, record, a.claims)
	if err != nil {
		a.doubt()
		return
	}
	a.facts.note("update", a.node.ID, written.Revision, a.claims...)
}

// doubt: after an error an agent knows nothing any more, and starts anew.
func (a *modelAgent) doubt() {
	a.facts.note("doubt", a.node.ID, 0)
	_ = a.session.Close(context.Background(), true)
	a.session = nil
}

func (a *modelAgent) leave(ctx context.Context) {
	if a.session.Leave(ctx) == nil {
		a.facts.note("leave", a.node.ID, 0)
	}
	a.session = nil
}

// reclaim takes everything from a node that seems to be dead.
func (a *modelAgent) reclaim(ctx context.Context) {
	absent, err := a.admin.Absent(ctx)
	if err != nil || len(absent) == 0 {
		return
	}
	x := absent[a.random.IntN(len(absent))]
	// It may come back, change, or be reclaimed by another before this arrives.
	a.pause(ctx, time.Millisecond)
	if _, err := a.admin.Reclaim(context.Background(), store.Reclamation{Absence: x, Reason: "model"}); err == nil {
		a.facts.note("reclaim", x.ID, 0)
	}
}

// reclaimByPolicy is what every overlayd does by itself.
func (a *modelAgent) reclaimByPolicy(ctx context.Context) {
	absent, err := a.admin.Absent(ctx)
	if err != nil {
		return
	}
	var v store.View
	watching, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = a.admin.Watch(watching, func(now store.View) { v = now; cancel() })
	now := time.Now()
	a.watch.See(now, absent)
	due, reason, ok := a.watch.Due(now, v)
	if !ok {
		return
	}
	a.pause(ctx, time.Millisecond)
	if _, err := a.admin.Reclaim(context.Background(), store.Reclamation{Absence: due, Reason: reason, Pause: time.Second}); err == nil {
		a.facts.note("reclaim by policy", due.ID, 0)
	}
}

// An observer has the whole history of a store.
type observer struct {
	revisions int
	values    map[string]string
	// lives are the times in which a pool's key was there, by pool.
	lives map[netip.Prefix][]life
	// reclaimed are the nodes that were reclaimed at this revision.
	reclaimed []string
}

type life struct {
	owner         store.NodeID
	from, through int64 // revisions; through is the last at which it was there
}

// replay reads every revision and checks each.
func replay(t *testing.T, client *clientv3.Client, prefix string) *observer {
	t.Helper()
	o := &observer{values: map[string]string{}, lives: map[netip.Prefix][]life{}}
	now, err := client.Get(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The last write tells that everything before it has come.
	if _, err := client.Put(ctx, prefix+"end", "x"); err != nil {
		t.Fatal(err)
	}
	revision := int64(0)
	for r := range client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(1)) {
		for _, event := range r.Events {
			if event.Kv.ModRevision != revision {
				o.check(t, prefix, revision)
				revision = event.Kv.ModRevision
			}
			if revision > now.Header.Revision {
				return o
			}
			o.take(prefix, event)
		}
	}
	t.Fatal("the history ended early")
	return nil
}

func (o *observer) take(prefix string, event *clientv3.Event) {
	key := strings.TrimPrefix(string(event.Kv.Key), prefix)
	pool, isPool := poolOf(key)
	if event.Type == clientv3.EventTypeDelete {
		delete(o.values, key)
		if lives := o.lives[pool]; isPool {
			lives[len(lives)-1].through = event.Kv.ModRevision - 1
		}
		return
	}
	o.values[key] = string(event.Kv.Value)
	if id, ok := strings.CutPrefix(key, "tomb/"); ok {
		o.reclaimed = append(o.reclaimed, id)
	}
	if isPool {
		var c store.Claim
		_ = json.Unmarshal(event.Kv.Value, &c)
		o.lives[pool] = append(o.lives[pool], life{owner: c.Owner, from: event.Kv.CreateRevision, through: 1<<63 - 1})
	}
}

func poolOf(key string) (netip.Prefix, bool) {
	name, ok := strings.CutPrefix(key, "pool/model/")
	if !ok {
		return netip.Prefix{}, false
	}
	var base uint32
	var bits int
	if _, err := fmt.Sscanf(name, "%08x-%d", &base, &bits); err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(base >> 24), byte(base >> 16), byte(base >> 8), byte(base)}), bits), true
}

// check holds one revision to the invariants: what the records of the nodes
// list is exactly what the pools' keys say, so that no pool has two owners; each
// tunnel address is its node's; and who is reclaimed has no session, and is gone.
func (o *observer) check(t *testing.T, prefix string, revision int64) {
	o.revisions++
	for _, id := range o.reclaimed {
		_, alive := o.values["live/"+id]
		if _, recorded := o.values["node/"+id]; alive || recorded {
			t.Errorf("revision %d: %s was reclaimed; has a session: %v, has a record: %v", revision, id, alive, recorded)
		}
	}
	o.reclaimed = nil
	listed := map[netip.Prefix]store.NodeID{}
	for key, value := range o.values {
		if !strings.HasPrefix(key, "node/") {
			continue
		}
		var n store.Node
		if err := json.Unmarshal([]byte(value), &n); err != nil {
			t.Fatalf("revision %d: %s is %s", revision, key, value)
		}
		for _, pool := range n.Pools["model"] {
			if other, twice := listed[pool]; twice {
				t.Errorf("revision %d: %s is in the records of %s and %s", revision, pool, other, n.ID)
			}
			listed[pool] = n.ID
		}
		if value := o.values["vtep/"+n.VTEP[0].String()]; !strings.Contains(value, `"`+string(n.ID)+`"`) {
			t.Errorf("revision %d: the address of %s is %s's", revision, n.ID, value)
		}
	}
	for pool, lives := range o.lives {
		if last := lives[len(lives)-1]; last.through == 1<<63-1 {
			if listed[pool] != last.owner {
				t.Errorf("revision %d: %s is owned by %s and in the record of %q", revision, pool, last.owner, listed[pool])
			}
			delete(listed, pool)
		}
	}
	for pool, id := range listed {
		t.Errorf("revision %d: %s is in the record of %s and owned by nobody", revision, pool, id)
	}
}

// check looks up what agents were told in what happened.
func (f *facts) check(t *testing.T, o *observer) {
	for _, fact := range f.list {
		for _, c := range fact.claims {
			held := false
			for _, l := range o.lives[c.Pool] {
				held = held || l.owner == fact.id && l.from == int64(c.Token) && l.from <= int64(fact.revision) && int64(fact.revision) <= l.through
			}
			if !held {
				t.Errorf("%s was told of a successful %s at revision %d with %s (token %d), which it did not have: %+v",
					fact.id, fact.what, fact.revision, c.Pool, c.Token, o.lives[c.Pool])
			}
		}
	}
}
