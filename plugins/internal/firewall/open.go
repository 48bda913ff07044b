package firewall

import (
	"context"
	"fmt"
	"log/slog"
)

// Open gives the named mechanism, or for Auto the one that fits the host:
// iptables where its programs are, because there other people's rules and
// tools are too, else nftables, which needs nothing but the kernel. No program
// is started to find out.
func Open(name BackendName, log *slog.Logger) (Backend, error) {
	switch name {
	case Auto:
		if _, err := find("iptables-restore"); err != nil {
			return &nftables{log: log}, nil
		}
		return &iptables{log: log}, nil
	case IPTables:
		return &iptables{log: log}, nil
	case NFTables:
		return &nftables{log: log}, nil
	default:
		return nil, fmt.Errorf("unknown firewall backend %q: want %q or %q", name, IPTables, NFTables)
	}
}

// Switch moves all rules of a host from one mechanism to another, without a
// moment in which a connection finds none. The last step is for what the two
// share: their rules in other programs' tables.
func Switch(ctx context.Context, from, to Backend, all []Rules) error {
	if err := to.Restore(ctx, all); err != nil {
		return err
	}
	if err := from.Restore(ctx, nil); err != nil {
		return err
	}
	return to.Restore(ctx, all)
}
