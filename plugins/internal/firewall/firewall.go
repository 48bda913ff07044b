// Package firewall makes the packet-filter half of a Wiring true: published
// ports, masquerade, forwarding, isolation, access to our resolver. The policy
// is written once, as values of package wire; two mechanisms carry it out,
// iptables (package-private type iptables) and nftables.
//
// Each operation is one atomic step: with iptables one iptables-restore
// --noflush per address family, with nftables one netlink transaction.
package firewall

import (
	"context"

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

// Rules is what one attachment asks for.
type Rules struct {
	Attachment wire.Attachment
	Network    wire.NetworkPolicy
	Publish    []wire.Publish
}

// A Backend carries policy out in the network namespace of the calling
// process. All methods are idempotent and safe against concurrent processes.
type Backend interface {
	Name() BackendName
	// Apply makes the network's rules and the attachment's rules true in one
	// step per family; what is already there stays once.
	Apply(ctx context.Context, r Rules) error
	// Remove takes the attachment's rules away. It needs nothing but the
	// names: it finds what there is to remove by itself.
	Remove(ctx context.Context, a wire.Attachment) error
	// RemoveNetwork takes a network's rules away, after its last attachment.
	RemoveNetwork(ctx context.Context, network string) error
	// Check returns an error that names the first rule of r that is missing.
	Check(ctx context.Context, r Rules) error
}
