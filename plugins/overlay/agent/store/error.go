package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

var (
	// ErrUnreachable: the store did not answer; try again later.
	ErrUnreachable = errors.New("store unreachable")
	// ErrConflict: something else was there than what was read. Nothing was
	// written; read again.
	ErrConflict = errors.New("changed in the meantime")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUnsupported: this kind of store can't do that. The error that wraps it
	// says what to do instead.
	ErrUnsupported = errors.New("not supported by this kind of store")
	// ErrPaused: somebody reclaimed a node a moment ago, and a Reclamation with a
	// Pause has to wait. Nothing was written.
	ErrPaused = errors.New("another node was reclaimed a moment ago")
	// ErrNoPool: nobody has assigned a pool to this node yet (Kubernetes, peers
	// file). Wait.
	ErrNoPool = errors.New("no pool assigned yet")
)

// A TakenError says who has what was asked for.
type TakenError struct {
	What   string // "tunnel address 192.0.2.1", "network blue", "group 7"
	Holder string // the node's or network's name
	Hint   string // what to do; may be empty
}

func (e *TakenError) Error() string {
	text := fmt.Sprintf("%s is already taken by %s", e.What, e.Holder)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// An InUseError names the nodes that keep a network from being removed.
type InUseError struct {
	Network string
	Owners  []string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("network %s is in use: pools of it belong to %s", e.Network, some(e.Owners, len(e.Owners)))
}

// An ExhaustedError says why no pool could be had.
type ExhaustedError struct {
	Network string
	Ranges  []netip.Prefix
	Pools   int // that the ranges have
	// Owners counts the pools of each owner, by name; Dead are the owners
	// without a session, whose pools can be reclaimed. Of very many owners only
	// some are among them: All and AllDead are how many there are.
	Owners       map[string]int
	Dead         []string
	All, AllDead int
}

func (e *ExhaustedError) Error() string {
	text := fmt.Sprintf("network %s is exhausted: all %d pools of %v are owned by %d nodes (%s)", e.Network, e.Pools, e.Ranges, e.All, some(e.counts(), e.All))
	if len(e.Dead) > 0 {
		return text + fmt.Sprintf(", %d of which are not alive (%s): reclaim one of them, or add a range", e.AllDead, some(e.Dead, e.AllDead))
	}
	return text + ", all alive: add a range"
}

// counts tells who owns how many, the most first.
func (e *ExhaustedError) counts() []string {
	owners := slices.SortedFunc(maps.Keys(e.Owners), func(a, b string) int {
		return cmp.Or(cmp.Compare(e.Owners[b], e.Owners[a]), cmp.Compare(a, b))
	})
	for i, name := range owners {
		owners[i] = fmt.Sprintf("%s %d", name, e.Owners[name])
	}
	return owners
}

// some are the first few of so many.
func some(names []string, all int) string {
	const most = 5
	if all <= most+1 {
		return strings.Join(names, ", ")
	}
	names = names[:min(most, len(names))]
	return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), all-len(names))
}

// A LostPoolError names the pools that are not this node's any more.
type LostPoolError struct{ Lost []Claim }

func (e *LostPoolError) Error() string {
	var texts []string
	for _, c := range e.Lost {
		texts = append(texts, fmt.Sprintf("%s of network %s", c.Pool, c.Network))
	}
	return "not owned any more: " + strings.Join(texts, ", ")
}

// A ClusterError says that the store belongs to another cluster than the one
// that this node was in.
type ClusterError struct{ Have, Want ClusterID }

func (e *ClusterError) Error() string {
	if e.Have == "" {
		return fmt.Sprintf("the store has no cluster there, and this node belongs to %s: point it at the right store and prefix, or let it leave first", e.Want)
	}
	return fmt.Sprintf("the store belongs to cluster %s, and this node to %s: point it at the right store, or let it leave first", e.Have, e.Want)
}

// A RevertedError says that the store has gone back in time: it was restored
// from a backup.
type RevertedError struct{ Have, Seen Revision }

func (e *RevertedError) Error() string {
	return fmt.Sprintf("the store is at revision %d and was at %d before: it was restored from a backup", e.Have, e.Seen)
}
