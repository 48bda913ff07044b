package store

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam"
)

// Schema is the version of the values below. A value with a larger one was
// written by a newer program: it is skipped and reported, never rewritten.
const Schema = 1

// NodeID is a node's identity: 128 random bits as 32 hexadecimal digits, made
// once and kept on the node. It is neither an address nor the host's name. (In
// Kubernetes it is the Node's name, in a peers file the peer's.)
type NodeID string

// Revision orders what happened in a store: a later one is larger. 0 where the
// store has none.
type Revision int64

// ClusterID tells one cluster's store from another's.
type ClusterID string

// A View is everything that a node needs to know, at one revision.
type View struct {
	Schema   int       `json:"schema"`
	Cluster  Cluster   `json:"cluster"`
	Revision Revision  `json:"revision"`
	Networks []Network `json:"networks,omitempty"` // by name
	Nodes    []Node    `json:"nodes,omitempty"`    // by ID; this node's own too
	// Skipped are values that could not be read.
	Skipped []Skipped `json:"skipped,omitempty"`
}

// Node finds a node of the view.
func (v View) Node(id NodeID) (Node, bool) {
	i := slices.IndexFunc(v.Nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return Node{}, false
	}
	return v.Nodes[i], true
}

// Network finds a network of the view.
func (v View) Network(name string) (Network, bool) {
	i := slices.IndexFunc(v.Networks, func(n Network) bool { return n.Name == name })
	if i < 0 {
		return Network{}, false
	}
	return v.Networks[i], true
}

// Free is how many pools of a network and a family no node has, by this view; less
// than none where a range was taken away.
func (v View) Free(n Network, is4 bool) int {
	free := 0
	for _, r := range n.Ranges {
		if r.Addr().Is4() == is4 {
			free += min(ipam.Pool{Prefix: r, Bits: n.PoolBits(is4)}.Size(), 1<<30)
		}
	}
	for _, node := range v.Nodes {
		for _, pool := range node.Pools[n.Name] {
			if pool.Addr().Is4() == is4 {
				free--
			}
		}
	}
	return free
}

// A Cluster is what all nodes must agree on. Who it is and how its packets
// travel is written once; its policies can be changed.
type Cluster struct {
	Schema int       `json:"schema"`
	ID     ClusterID `json:"id"`
	// VNI is the VXLAN network identifier, 1 to 16777215; 0 stands for
	// DefaultVNI.
	VNI uint32 `json:"vni,omitempty"`
	// Port is the UDP port of the tunnels; 0 stands for DefaultPort.
	Port uint16 `json:"port,omitempty"`
	// ReclaimAfter is how long a node must have been seen without a session
	// before others may reclaim its pools by themselves, in seconds; 0 stands
	// for DefaultReclaimAfter, a negative one for never.
	ReclaimAfter int64 `json:"reclaimAfter,omitempty"`
	// ReclaimAbove is how much of a network's pools must be owned before that
	// happens, in percent: while there is room nobody is in the way. 0 stands
	// for DefaultReclaimAbove.
	ReclaimAbove int `json:"reclaimAbove,omitempty"`

	// Revision is the one at which the store has it; it is not part of the value.
	Revision Revision `json:"-"`
}

// ReclaimPolicy says after which absence nodes are reclaimed, and from how many
// percent of use on; on is false if never.
func (c Cluster) ReclaimPolicy() (after time.Duration, above int, on bool) {
	after = time.Duration(c.ReclaimAfter) * time.Second
	if after == 0 {
		after = DefaultReclaimAfter
	}
	return after, cmp.Or(c.ReclaimAbove, DefaultReclaimAbove), after > 0
}

// What a Cluster's zero values stand for.
const (
	DefaultVNI          = 1
	DefaultPort         = 4789 // IANA's; RFC 7348 section 8
	DefaultReclaimAfter = 72 * time.Hour
	DefaultReclaimAbove = 90 // percent
	DefaultPoolBits4    = 24
	DefaultPoolBits6    = 80
)

// A Network of the overlay.
type Network struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	// Ranges are cut into pools: of each family that they have, every node gets
	// its own. Further ranges can be added.
	Ranges []netip.Prefix `json:"ranges"`
	// PoolBits4 and PoolBits6 are the prefix lengths of a pool; 0 stands for
	// DefaultPoolBits4 and 6.
	PoolBits4 int `json:"poolBits4,omitempty"`
	PoolBits6 int `json:"poolBits6,omitempty"`
	// Group is in the header of every packet of the network: 1 to 65535,
	// unique in the cluster.
	Group uint16 `json:"group"`
	// Open networks can be reached from other overlay networks.
	Open     bool     `json:"open,omitempty"`
	FastPath FastPath `json:"fastPath,omitzero"`
	// Leaving networks are being removed: nodes without containers in them give
	// their pools back, and the network goes when the last one has.
	Leaving bool `json:"leaving,omitempty"`
	// Definition is the network's configuration list, the same on every node.
	// The agent of each node writes it to where the plugins' are; stores pass it
	// through.
	Definition json.RawMessage `json:"definition,omitempty"`
	Created    time.Time       `json:"created,omitzero"`

	// Revision is the one at which the store has it; it is not part of the value.
	Revision Revision `json:"-"`
}

// PoolBits is the prefix length of the pools of a family.
func (n Network) PoolBits(is4 bool) int {
	switch {
	case is4 && n.PoolBits4 != 0:
		return n.PoolBits4
	case is4:
		return DefaultPoolBits4
	case n.PoolBits6 != 0:
		return n.PoolBits6
	}
	return DefaultPoolBits6
}

// A Node's record is everything that a peer needs, in one value.
type Node struct {
	Schema int    `json:"schema"`
	ID     NodeID `json:"id"`
	// Name is for people: the host's name.
	Name string `json:"name"`
	// Epoch counts how often the identity was entered anew, after it had left
	// or was reclaimed; it begins with 1.
	Epoch int64 `json:"epoch"`
	// VTEP are the tunnel's addresses, at most one of each family. Nobody else
	// in the store has them.
	VTEP []netip.Addr `json:"vtep"`
	// MTU is that of the node's own way to its peers, less the tunnel's
	// overhead: what fits into the overlay.
	MTU int `json:"mtu,omitempty"`
	// Pools of each network, in the order in which they were claimed.
	Pools map[string][]netip.Prefix `json:"pools,omitempty"`

	// Revision is the one at which the store has it; it is not part of the value.
	Revision Revision `json:"-"`
}

// Equal tells whether two records say the same, at whatever revision.
func (n Node) Equal(o Node) bool {
	if n.ID != o.ID || n.Name != o.Name || n.Epoch != o.Epoch || n.MTU != o.MTU ||
		!slices.Equal(n.VTEP, o.VTEP) || len(n.Pools) != len(o.Pools) {
		return false
	}
	for network, pools := range n.Pools {
		if !slices.Equal(pools, o.Pools[network]) {
			return false
		}
	}
	return true
}

// A Claim is the ownership of one pool.
type Claim struct {
	Network string       `json:"network"`
	Pool    netip.Prefix `json:"pool"`
	Owner   NodeID       `json:"owner"`
	Epoch   int64        `json:"epoch"`
	// Token is the fencing token: the revision at which the claim was made. A
	// pool that was lost and claimed again has another one. 0 where somebody
	// else assigns pools.
	Token Revision `json:"token"`
}

// A ClaimRequest asks for one pool of a network and a family.
type ClaimRequest struct {
	Network string
	Is4     bool
	// Prefer is taken if it is free: the pool that this node had last.
	Prefer netip.Prefix
}

// A Registration says who opens a session.
type Registration struct {
	// Node as it should be in the store. Pools are left out: those that are in
	// the store already stay. A node that is not there yet is entered, with
	// Epoch as given.
	//
	// *TakenError if another node has one of its VTEP addresses, or if this very
	// identity has a live session of another boot or process: two hosts with one
	// state directory.
	Node Node
	// Local are all addresses of this host: what a peers file finds it by where
	// Node.VTEP is empty.
	Local []netip.Addr
	// Boot is the running boot's ID.
	Boot string
	// Takeover is the ID of the session of an earlier process on this boot,
	// or "".
	Takeover string
	// Cluster is the cluster that this node belonged to so far, or "".
	// *ClusterError if the store is another cluster's, or has none. One that has
	// none because it has gone back in time becomes this cluster's again, with
	// AcceptReverted.
	Cluster ClusterID
	// Seen is the revision of the newest View that this node has had, or 0.
	// *RevertedError if the store is older (restored from a backup) unless
	// AcceptReverted.
	Seen           Revision
	AcceptReverted bool
	// Needs says which pools the node lacks, given the networks and the node's
	// claims as they are just read; nil is none. They are claimed together with
	// the node's entry. What can't be had at once is left to Session.Claim. It
	// may be called more than once.
	Needs func([]Network, []Claim) []ClaimRequest
	// Opened is told the ID of a new session before anything is written under it;
	// nil is not told. Where the answer to what was written is lost, or this process
	// ends before it comes, the next attempt goes on with it as Takeover.
	Opened func(session string)
}

// An Entry is what a session found and made when it was opened, all at one
// revision.
type Entry struct {
	Cluster ClusterID
	// Owned are the claims that are this node's, with their tokens: those that
	// were found, in the order of the node's record, and then those that
	// Registration.Needs asked for.
	Owned []Claim
	// Tombstone says that the node had been reclaimed since it was last here;
	// nil if it was not.
	Tombstone *Tombstone
}

// Liveness is what a session shows of itself.
type Liveness struct {
	ID      NodeID `json:"id"`
	Boot    string `json:"boot"`
	Session string `json:"session"`
}

// An Absence is a node without a session, as it was seen. Two that are equal
// are one absence: the node has not been back between them.
type Absence struct {
	ID NodeID
	// Record is the revision of the node's record, Session that at which its
	// last session began.
	Record, Session Revision
}

// A Reclamation takes everything away from an absent node.
type Reclamation struct {
	Absence
	// Reason is for people: who did it, and why.
	Reason string
	// Pause is how long no other reclamation with a Pause may follow, in the
	// whole cluster, in whole seconds: after a mistake of many little is lost.
	// 0 neither waits nor keeps others waiting.
	Pause time.Duration
}

// A Tombstone tells a node that comes back what happened.
type Tombstone struct {
	Schema int                       `json:"schema"`
	ID     NodeID                    `json:"id"`
	Name   string                    `json:"name"`
	Epoch  int64                     `json:"epoch"`
	Pools  map[string][]netip.Prefix `json:"pools,omitempty"`
	Reason string                    `json:"reason"`
	// Made is when, by the clock of who made it: only what is pruned depends on
	// it.
	Made     time.Time `json:"made,omitzero"`
	Revision Revision  `json:"-"`
}

// Names is what one container of a network is called.
type Names struct {
	Schema    int          `json:"schema"`
	Network   string       `json:"network"`
	Node      NodeID       `json:"node"`
	Container string       `json:"container"`
	Own       []string     `json:"own,omitempty"`
	Hostname  string       `json:"hostname,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
}

// Skipped is a value that could not be read.
type Skipped struct {
	Key string `json:"key"`
	Why string `json:"why"`
	// Node, Network and Cluster tell whose value it is, where it is one that a
	// View would have: what was known of it before may still be so.
	Node    NodeID `json:"node,omitempty"`
	Network string `json:"network,omitempty"`
	Cluster bool   `json:"cluster,omitempty"`
}
