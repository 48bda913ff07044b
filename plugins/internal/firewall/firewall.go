// Package firewall makes the packet-filter half of a Wiring true: published
// ports, masquerade, forwarding, isolation, access to our resolver. The policy
// is written once, as rules in neither mechanism's words (policy.go); two
// mechanisms carry it out, iptables and nftables.
//
// Each operation is one atomic step: with iptables one iptables-restore
// --noflush per address family, with nftables one netlink transaction. The
// step first says what it expects to find (the shared chains, the network's
// rules, nothing of the attachment); when that is not so, because it is the
// first of its kind, because somebody flushed, or because an earlier call was
// killed, the operation looks at what is there and makes it right.
//
// All of it happens in the network namespace of the calling thread.
package firewall

import (
	"context"
	"errors"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// BackendName names a mechanism. It is kept in the ledger with each
// attachment, so that ADD and DEL can never disagree.
type BackendName string

// The mechanisms. Auto is resolved by Open and never recorded.
const (
	Auto     BackendName = ""
	IPTables BackendName = "iptables"
	NFTables BackendName = "nftables"
)

// ErrBusy means that another program held the packet filter's lock for as long
// as we may wait. Nothing was changed; the caller can try again.
var ErrBusy = errors.New("packet filter is locked")

// Rules is what one attachment asks for.
type Rules struct {
	Attachment wire.Attachment
	Network    wire.NetworkPolicy
	Publish    []wire.Publish
}

// InUse tells whether a network still has attachments. It is called under the
// lock that all operations take, so an Apply that runs at the same time is
// either seen by it or finds the network's rules gone and makes them again.
type InUse func() (bool, error)

// A Backend carries policy out in the network namespace of the calling
// thread. All methods are idempotent and safe against concurrent processes.
type Backend interface {
	Name() BackendName
	// Apply makes the network's rules and the attachment's rules true in one
	// step per family; what is already there stays once. An attachment that
	// was applied with other rules has the new ones afterwards.
	Apply(ctx context.Context, r Rules) error
	// Remove takes the attachment's rules away. Given what was applied it
	// needs one step; given less, or something else, it finds by the
	// attachment's name what there is to remove. When inUse is not nil and
	// says no, the network's rules go in the same step.
	Remove(ctx context.Context, r Rules, inUse InUse) error
	// RemoveNetwork takes away all rules of a network and its attachments;
	// with a non-nil inUse only when that says no.
	RemoveNetwork(ctx context.Context, network string, inUse InUse) error
	// Restore makes the host's rules exactly these, in one step per family:
	// after a flush, for garbage collection, for a change of mechanism (an
	// empty list leaves nothing of ours). Where attachments of a network
	// differ in its policy, the last one's holds.
	Restore(ctx context.Context, all []Rules) error
	// Check returns an error that names the first rule of r that is missing.
	Check(ctx context.Context, r Rules) error
}
