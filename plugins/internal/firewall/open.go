package firewall

import (
	"context"
	"fmt"
	"log/slog"
)

// Park is called with a netlink socket that is about to be closed. Closing the
// last descriptor of such a socket after a deletion waits until the kernel has
// freed what was deleted (an RCU grace period, some 10 ms), which is the larger
// part of a DEL, and nobody needs it: the deletion itself is done and seen by
// everybody. A Park that makes another process hold the descriptor until ours
// is closed takes that wait off the caller's way.
type Park func(fd uintptr)

// Option changes what Open gives.
type Option func(*nftables)

// WithPark sets how sockets are let go of.
func WithPark(park Park) Option { return func(t *nftables) { t.park = park } }

// Open gives the named mechanism, or for Auto the one that fits the host:
// iptables where its programs are, because there other people's rules and
// tools are too, else nftables, which needs nothing but the kernel. No program
// is started to find out.
func Open(name BackendName, log *slog.Logger, options ...Option) (Backend, error) {
	if name == Auto {
		name = NFTables
		if _, err := (programs{}).find("iptables-restore"); err == nil {
			name = IPTables
		}
	}
	switch name {
	case IPTables:
		return &iptables{log: log}, nil
	case NFTables:
		t := &nftables{log: log}
		for _, option := range options {
			option(t)
		}
		return t, nil
	default:
		return nil, fmt.Errorf("unknown firewall backend %q: want %q or %q", name, IPTables, NFTables)
	}
}

// Switch moves all rules of a host from one mechanism to another, without a
// moment in which a connection finds none.
func Switch(ctx context.Context, from, to Backend, all []Rules) error {
	if err := to.Restore(ctx, all); err != nil {
		return err
	}
	return from.Restore(ctx, nil)
}
