// Package store is what the agent of an overlay needs of the place where the
// hosts agree: who is there, which networks there are, who owns which pool. The
// folders below hold the kinds: a peers file, etcd, Kubernetes. storetest is
// the contract that each of them passes.
//
// Three rules hold for every kind (overlay specification 5.1):
//
// Ownership is durable, liveness is ephemeral: a pool stays its owner's until
// the owner releases it or somebody reclaims it, whether the owner is up or not.
// A session only says "seen lately".
//
// Every write is a transaction on what was read. A write that finds something
// else than it has read fails with ErrConflict and changes nothing.
//
// Views are complete: a node that is not in a View is not in the store.
package store

import (
	"context"
	"time"
)

// A Store is one connection to the place. It is safe for concurrent use.
//
// Calls that need the network have a deadline of their own (5 s), beside the
// context's, and answer with an error that wraps ErrUnreachable if the store
// can't be had.
type Store interface {
	// Kind is "static", "etcd" or "kubernetes".
	Kind() string
	// Can says what this kind is able to do; what it can't do answers with
	// ErrUnsupported.
	Can() Abilities

	// Watch calls yield with a complete View at once, and again after each
	// change that this store notices; changes that come close together may be
	// one call. A View whose content equals the one before is not yielded. It
	// returns ctx's error, or what ended the stream: then call it again, and it
	// starts with a complete View. Views must not be changed.
	//
	// A value that can't be read (garbage, a newer schema) is left out and
	// reported in View.Skipped; the others are not affected by it.
	Watch(ctx context.Context, yield func(View)) error

	// Session makes this node known, and keeps it marked as alive until the
	// session is closed or lost. See Registration for what is refused.
	Session(ctx context.Context, r Registration) (Session, error)

	// CreateNetwork enters a network, with a group ID that no other has if
	// n.Group is 0, and returns it as entered. *TakenError if the name, the
	// group or an address of its ranges is another network's.
	CreateNetwork(ctx context.Context, n Network) (Network, error)
	// UpdateNetwork replaces a network of the same name: more ranges, another
	// definition. n.Revision must be the one that was read (ErrConflict). A
	// range that holds somebody's pool can't be taken away (*TakenError).
	UpdateNetwork(ctx context.Context, n Network) (Network, error)
	// RemoveNetwork takes a network away; *InUseError names the nodes that own
	// pools of it. ErrNotFound if there is none.
	RemoveNetwork(ctx context.Context, name string) error

	// Alive lists the nodes that have a session now.
	Alive(ctx context.Context) ([]Liveness, error)
	// Pools lists every claim of a network, or of all networks for "".
	Pools(ctx context.Context, network string) ([]Claim, error)

	// Absent lists the nodes that have a record and no session now.
	Absent(ctx context.Context) ([]Absence, error)
	// Reclaim takes everything away from an absent node, and leaves a tombstone.
	// ErrConflict if the node came back or changed since it was seen absent, even
	// if it is gone again; exactly one of Reclaim and the node's own return
	// succeeds. ErrPaused if somebody reclaimed too lately.
	Reclaim(ctx context.Context, r Reclamation) (Tombstone, error)
	// Tombstone tells what happened to a node that lost everything;
	// ErrNotFound if nothing did.
	Tombstone(ctx context.Context, id NodeID) (Tombstone, error)
	// PruneTombstones removes those that were made before a time, by the clocks
	// of those who made them, and returns them.
	PruneTombstones(ctx context.Context, before time.Time) ([]Tombstone, error)

	// UpdateCluster replaces the policies of the cluster: c.Revision must be the
	// one that was read (ErrConflict), and ID, VNI and Port can't be changed.
	UpdateCluster(ctx context.Context, c Cluster) (Cluster, error)

	// WatchNames calls yield with all names of a network, of all nodes that
	// have a session, as Watch does with Views.
	WatchNames(ctx context.Context, network string, yield func([]Names)) error

	Close() error
}

// A Crier is a Store that wants to know when this node's overlay works.
type Crier interface {
	// Ready is called after the first complete pass of each session, when the
	// node has a pool and its network can be used.
	Ready(ctx context.Context) error
}

// An Auditor is a Store in which somebody else could write anything.
type Auditor interface {
	// Audit reads every value of the cluster and reports those that this program
	// does not understand, of which Views tell only some.
	Audit(ctx context.Context) ([]Skipped, error)
}

// Abilities of a kind of store.
type Abilities struct {
	// Records: nodes keep their own records, with Update. Otherwise somebody else
	// writes them.
	Records bool
	// Claims: pools are handed out on request. Otherwise Claim looks up what
	// was assigned by somebody else, and a second pool can't be had.
	Claims bool
	// Networks can be created, updated and removed through the store.
	Networks bool
	// Liveness: Alive, Absent, Reclaim, tombstones and UpdateCluster work, and
	// sessions expire.
	Liveness bool
	// Names can be published and watched.
	Names bool
}

// A Session is this node's presence in the store, and the only way to write
// what is the node's own.
type Session interface {
	// ID is what Registration.Takeover takes after a restart of the agent on
	// the same boot; "" where sessions don't expire.
	ID() string
	// Entry is what this session found and made when it was opened.
	Entry() Entry
	// Self is the node's record as this session last wrote or found it. Its ID
	// and tunnel address differ from the registration's where somebody else names
	// the nodes (a peers file, Kubernetes).
	Self() Node
	// Watch is the Store's, but begins with what was read when this session was
	// opened, and asks for the changes since: the first Views may be older than
	// what was written meanwhile.
	Watch(ctx context.Context, yield func(View)) error
	// Lost is closed when the session is gone: it expired (a pause), or its
	// keep-alive has had no answer for its whole life. Open another one, and
	// check Owned before any other action.
	Lost() <-chan struct{}

	// Owned reads the claims that are this node's now, with their tokens: from
	// the store, or as a stream has them that follows it, never from memory.
	Owned(ctx context.Context) ([]Claim, error)
	// Claim gets a pool. Where the node's record has the pool already that
	// r.Prefer names, that claim is returned. *ExhaustedError if no pool of the
	// network is free, after no more attempts than there are free pools.
	Claim(ctx context.Context, r ClaimRequest) (Claim, error)
	// Release gives one pool back: only if it is still this node's with that
	// token. A claim that is gone is no error.
	Release(ctx context.Context, c Claim) error

	// Update replaces the node's own record; its pools are those that the
	// record lists, which must be among Owned with the tokens given. A record
	// that equals the one in the store is not written. *LostPoolError names the
	// pools that are not this node's any more (nothing is written then);
	// ErrNotFound if the record itself is gone (reclaimed).
	Update(ctx context.Context, n Node, owned []Claim) (Node, error)

	// Leave gives everything back: pools, tunnel address, record, names.
	Leave(ctx context.Context) error

	// PutNames publishes what one container is called, for as long as this
	// session lives; DeleteNames takes it back.
	PutNames(ctx context.Context, n Names) error
	DeleteNames(ctx context.Context, network, container string) error

	// Close gives the session up without giving anything back: the node stays
	// in the Views. With keep, the session stays to be taken over by the next
	// process on this boot, and expires if none does.
	Close(ctx context.Context, keep bool) error
}
