package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/netctl/netctl/netctl/doctor"
)

// Resolve implements doctor.World. The connection to the server is made in the
// namespace, whatever goroutine of the library asks for it.
func (w World) Resolve(ctx context.Context, ns doctor.Namespace, server netip.Addr, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, w.patience())
	defer cancel()
	r := net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = in(ns, func() error {
			conn, err = new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(server, 53).String())
			return err
		})
		return conn, err
	}}
	// The dot at the end keeps the host's search list out.
	got, err := r.LookupNetIP(ctx, "ip4", strings.TrimSuffix(name, ".")+".")
	var failure *net.DNSError
	switch {
	case err == nil:
		for i := range got {
			got[i] = got[i].Unmap()
		}
		return got, nil
	case errors.As(err, &failure) && failure.IsNotFound:
		return nil, doctor.ErrNoName
	case errors.As(err, &failure) && !failure.IsTimeout && strings.Contains(failure.Err, "server misbehaving"):
		return nil, errServer
	}
	return nil, doctor.ErrNoAnswer
}

// errServer: the server answers that it has no answer (SERVFAIL).
var errServer = errors.New("the server fails")

// Upstream implements doctor.World.
func (w World) Upstream() ([]netip.Addr, error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return Servers(string(text)), err
}

// Servers are the name servers of a resolv.conf.
func Servers(text string) []netip.Addr {
	var servers []netip.Addr
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, a)
		}
	}
	return servers
}
