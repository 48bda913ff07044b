// Package agent is overlayd: it keeps this host a member of the overlay. It
// holds the host's pools, hands them over to the plugin, and makes the kernel
// reach everybody else's.
//
// Three loops meet in one place. The member loop (member.go) keeps a session
// with the store, the claims and the host's own record. The view loop
// (view.go) takes in what the store says of everybody. The worker (worker.go)
// computes from both what the kernel should have (package plan) and makes it
// so; store, kernel, files and a clock only tell it that something may be
// different, and it looks. Nothing is ever deleted because something is not
// known: see Agent.keeps.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Config says where an agent works.
type Config struct {
	StateDir string // of this boot: ledger, control socket, what is handed over
	DataDir  string // outlives the boot: identity, snapshot; "overlay" below it is ours
	ConfDir  string // where network definitions are
	// Name is what people call this host; "" is the host's name.
	Name string
	// VTEP is the tunnel's address, or the link that has it; "" is the address
	// from which the host speaks to the world.
	VTEP string
	// Direct reaches peers on the underlay's own link without tunnel.
	Direct bool
	// Metrics is an address to serve /metrics on, beside the control socket.
	Metrics string
	Store   store.Store
	Log     *slog.Logger
}

// Agent is one host's part in the overlay.
type Agent struct {
	cfg  Config
	dir  string // DataDir/overlay
	boot string
	log  *slog.Logger
	host *kernel.Host
	book *ledger.Ledger

	dirty  bell // the worker should look
	member bell // the member loop should look
	names  bell // this host's names may have changed
	again  bell // the store should be listed again
	rejoin bell // what this host owns is to be verified anew
	mirror bell // the networks of this host's containers may have changed
	policy bell // the cluster's policies may have changed
	tunnel bell // the tunnel's address has changed
	// tried is closed when this host has tried to join for the first time.
	tried chan struct{}
	// started is closed after the first complete pass.
	started chan struct{}

	// saved is the identity that is on disk; the member loop's.
	saved store.NodeID
	// disk is held while the memory is written, so that the last one stays.
	disk sync.Mutex
	// sharing is held while a network's file for the plugin is written: a pass
	// that began earlier must not write that a lost pool is this host's.
	sharing sync.Mutex

	onlookers firewall.Onlookers
	fast      fastPath // the worker's

	mu    sync.Mutex
	state state
}

// state is what the loops share, under Agent.mu.
type state struct {
	memory memory
	// self is this host's node as the store knows it, local its tunnel address.
	self  store.Node
	local netip.Addr
	// view is what the store says of everybody, with what is only not to be
	// read, or not yet again (store.View.Keeping).
	view store.View
	// seen: there is a view; live: it came from the store, and not from the
	// snapshot.
	seen, live bool
	session    store.Session
	// onlooker is who else has rules that would see packets between hosts, as of the
	// last look; noFastPath is why the kernel has no fast path. "" if so.
	onlooker, noFastPath string
	// trouble is why the store can't be used, since when; nil if it can.
	trouble error
	since   time.Time
	plan    plan.Plan
	probed  map[netip.Addr]int
	peers   map[netip.Addr]*Path
	passes  passes
	ready   bool
	// joined: what this host owns has been verified since the start.
	joined bool
	// tombstone says that this host was reclaimed while it was away; nil if it
	// was not.
	tombstone *store.Tombstone
	// confirming: the next list of the store is all that there is.
	confirming bool
	// cried: the store has been told that the overlay works here.
	cried bool
	// left: the host gives everything back, and nothing is taken any more.
	left bool
	// exhausted are the networks for which no pool could be had, and why.
	exhausted map[string]error
	// asked is when the store said so.
	asked map[lack]time.Time
}

// New prepares an agent. It reads its identity and its last view.
func New(cfg Config) (*Agent, error) {
	a := &Agent{cfg: cfg, dir: filepath.Join(cfg.DataDir, "overlay"), log: cfg.Log,
		dirty: newBell(), member: newBell(), names: newBell(), mirror: newBell(), policy: newBell(), tunnel: newBell(), again: newBell(), rejoin: newBell(),
		tried: make(chan struct{}), started: make(chan struct{})}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if a.boot, err = bootID(); err != nil {
		return nil, err
	}
	if a.book, err = ledger.Open(cfg.StateDir); err != nil {
		return nil, err
	}
	if a.cfg.Name == "" {
		if a.cfg.Name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	s := &a.state
	s.probed, s.peers, s.exhausted, s.asked = map[netip.Addr]int{}, map[netip.Addr]*Path{}, map[string]error{}, map[lack]time.Time{}
	if s.memory, err = remember(a.dir, machineID()); err != nil {
		return nil, err
	}
	s.self = store.Node{Schema: store.Schema, ID: s.memory.ID, Name: a.cfg.Name, Epoch: s.memory.Epoch}
	view, found, err := loadSnapshot(a.dir)
	if kind := cfg.Store.Kind(); s.memory.Kind != kind {
		// Moved to another store: its cluster and revisions are others, this
		// host and its pools are the same.
		s.memory.Kind, s.memory.Cluster, view.Cluster, view.Revision = kind, "", store.Cluster{VNI: view.Cluster.VNI, Port: view.Cluster.Port}, 0
	}
	if err != nil {
		a.log.Warn("starting without what was known before", "error", err)
	}
	if found && (s.memory.Cluster == "" || view.Cluster.ID == s.memory.Cluster) {
		s.view, s.seen = view, true
	}
	return a, nil
}

// Run works until the context ends. What is in the kernel stays: the data plane
// outlives the agent.
func (a *Agent) Run(ctx context.Context) error {
	host, err := kernel.OpenHost()
	if err != nil {
		return err
	}
	defer host.Close()
	a.host = host
	unlock, err := a.alone()
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := a.listenControl()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{
		a.work, a.watchStore, a.beMember, a.watchHost, a.watchRules, a.watchLedger, a.publishNames, a.mirrorNames, a.probe, a.reclaimAbsent,
		func(ctx context.Context) error { return a.serveControl(ctx, listener) }, a.serveMetrics,
	} {
		group.Go(func() error { return loop(ctx) })
	}
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// with runs fn under the lock.
func (a *Agent) with(fn func(*state)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn(&a.state)
}

// keeps tells that nothing may be deleted: what is wanted may be more than what
// is known.
func (s *state) keeps() bool { return !s.live || s.memory.Safe }

// degraded says what the plugin and people should know; "" if all is well.
func (s *state) degraded() string {
	switch {
	case s.memory.Safe:
		return "the store has gone back in time (restored from a backup): nothing is deleted until `netctl overlay confirm`"
	case s.trouble != nil:
		return fmt.Sprintf("store: %v", s.trouble)
	}
	return ""
}

// settled waits until the start is over, or has taken too long to go on waiting;
// false if the context ends.
func (a *Agent) settled(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-a.started:
	case <-time.After(startWait):
	}
	return true
}

// A bell wakes a loop; several before it wakes are one.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (s bell) ring() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// pause waits, or ends with the context; it tells which.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
