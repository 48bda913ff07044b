package doctor

import (
	"context"
	"errors"
	"net/netip"
)

// A World is the kernel and what lives in it. Every method is asked about one
// namespace and looks only.
type World interface {
	// Links lists the interfaces of a namespace.
	Links(Namespace) ([]Link, error)
	// Routed tells whether there is a route to the address, and the interface
	// it leaves by.
	Routed(Namespace, netip.Addr) (link string, ok bool, err error)
	// Forwards asks the kernel what it would do with a packet that comes in by a link:
	// "" means that it would forward it, or that this can't be known.
	Forwards(ctx context.Context, in string, from, to netip.Addr) (refusal string, err error)
	// Sysctl reads a kernel setting, such as net.ipv4.ip_forward.
	Sysctl(ns Namespace, key string) (string, error)
	// Neighbours counts the entries of the kernel's neighbour table for ipv4 or
	// ipv6, which all namespaces share, and gives its limit; 0 where it is unknown.
	Neighbours(family string) (n, limit int, err error)
	// Sockets lists those that wait for packets or connections.
	Sockets(Namespace) ([]Socket, error)
	// Holder names the process that has the socket, as "nginx (pid 12)".
	Holder(Socket) string
	// Dial connects by TCP, or by UDP sends an empty datagram.
	Dial(ctx context.Context, ns Namespace, network string, to netip.AddrPort) error
	// Resolve asks one name server. ErrNoName means that it knows of none,
	// ErrNoAnswer that it doesn't answer.
	Resolve(ctx context.Context, ns Namespace, server netip.Addr, name string) ([]netip.Addr, error)
	// Upstream are the name servers of the host.
	Upstream() ([]netip.Addr, error)
	// Swallowed tells whether packets of size bytes to the address disappear,
	// while the kernel does not learn that they are too large.
	Swallowed(ctx context.Context, ns Namespace, to netip.Addr, size int) (bool, error)
	// Drops makes the attempt and tells which places of the packet filter
	// dropped it.
	Drops(ctx context.Context, p Packet, attempt func()) ([]Drop, error)
	// Attachment compares what is there with what attaching a container to a
	// network has made; a difference is a *Difference.
	Attachment(ctx context.Context, container, network string) error
}

// Errors of Resolve.
var (
	ErrNoName   = errors.New("no such name")
	ErrNoAnswer = errors.New("no answer")
)

// Difference is what has changed about an attachment since it was made.
type Difference struct{ Text string }

func (d *Difference) Error() string { return d.Text }

// Link is a network interface.
type Link struct {
	Name      string
	Up        bool
	MTU       int
	Addresses []netip.Prefix
}

// Socket is one that waits.
type Socket struct {
	Protocol string // tcp or udp
	Local    netip.AddrPort
	Inode    uint64
}

// Packet is what is sent, for the rules that have no counters.
type Packet struct {
	Protocol string // tcp or udp
	In, Out  string // interfaces
	To       netip.AddrPort
}

// Drop is a place of the packet filter that drops.
type Drop struct {
	Tool  string // iptables, ip6tables or nft
	Chain string // as the tool writes it
	Rule  string // "" for a chain's policy
	// Delete is the command that takes it away, or opens the chain.
	Delete string
}

func (d Drop) String() string {
	if d.Rule == "" {
		return d.Tool + " chain " + d.Chain + " (its policy)"
	}
	return d.Tool + " chain " + d.Chain + ", rule: " + d.Rule
}

// link finds an interface by name.
func link(links []Link, name string) (Link, bool) {
	for _, l := range links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}
