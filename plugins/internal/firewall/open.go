package firewall

import (
	"fmt"
	"log/slog"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Park is called with a netlink socket that is about to be closed. Closing the
// last descriptor of any such socket soon after a deletion, by whomever, waits
// until the kernel has freed what was deleted (an RCU grace period, some 10
// ms), which is the larger part of a DEL, and nobody needs it: the deletion
// itself is done and seen by everybody. A Park that makes another process hold the descriptor until ours
// is closed takes that wait off the caller's way.
type Park func(fd uintptr)

// letGo closes a socket by way of the Park; without one, beside the caller's
// next work.
func (p Park) letGo(conn *netlink.Conn, closing func() error) {
	if p == nil {
		go func() { _ = closing() }()
		return
	}
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(p)
	}
	_ = closing()
}

// letGoOf is letGo for a descriptor.
func (p Park) letGoOf(fd int) {
	if p == nil {
		go func() { _ = unix.Close(fd) }()
		return
	}
	p(uintptr(fd))
	_ = unix.Close(fd)
}

// Option changes what Open gives.
type Option func(*choices)

type choices struct{ park Park }

// WithPark sets how sockets are let go of.
func WithPark(park Park) Option { return func(c *choices) { c.park = park } }

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
	var c choices
	for _, option := range options {
		option(&c)
	}
	switch name {
	case IPTables:
		return &iptables{log: log, park: c.park}, nil
	case NFTables:
		return &nftables{log: log, park: c.park}, nil
	default:
		return nil, fmt.Errorf("unknown firewall backend %q: want %q or %q", name, IPTables, NFTables)
	}
}
