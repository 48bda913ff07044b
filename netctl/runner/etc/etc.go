// Package etc composes the three files of /etc that tell a container who and
// where it is: hosts, hostname, resolv.conf. Text in, text out; the monitor
// writes them and binds them over the container's own.
package etc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// Facts are what the files depend on beside the wishes.
type Facts struct {
	Attached []runner.Attached
	// The host's own files.
	HostResolv, HostHosts string
}

// Resolv composes resolv.conf.
//
// With a resolver on the network: its address, the network's search domains
// before the host's, and the host's options but those that would break it.
// There is no ndots:0, although docker writes it: with it musl never uses the
// search list, and bare names of the company's domain stop to resolve. With the
// default, ndots:1, glibc, musl and Go all resolve both.
//
// Without one: the servers asked for, else the host's file. Of a container in a
// namespace of its own that file is without loopback servers, which it could
// not reach; with no network at all it is without any.
func Resolv(c *runner.Config, f Facts) string {
	host := parseResolv(f.HostResolv)
	servers, search := host.servers, host.search
	var own []string
	served := false
	for _, a := range f.Attached {
		if len(a.Resolver) > 0 {
			servers, own, served = texts(a.Resolver), a.Search, true
			break // exactly one, even with several networks
		}
	}
	switch {
	case served:
	case len(c.Names.Servers) > 0:
		servers = texts(c.Names.Servers)
	case c.Network.Kind == runner.NetworkNone:
		servers = nil
	case c.Network.Kind == runner.NetworkAttached:
		servers = slices.DeleteFunc(slices.Clone(servers), isLoopback)
	}
	if len(c.Names.Search) > 0 {
		search = slices.DeleteFunc(slices.Clone(c.Names.Search), func(s string) bool { return s == "." })
	}
	options := c.Names.Options
	if len(options) == 0 {
		options = host.options
		if served {
			options = slices.DeleteFunc(slices.Clone(options), breaksResolver)
		}
	}
	return resolv{servers, append(slices.Clone(own), search...), options}.String()
}

type resolv struct{ servers, search, options []string }

// parseResolv reads what resolv.conf(5) defines; of domain and search the last
// one counts.
func parseResolv(text string) resolv {
	var r resolv
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			r.servers = append(r.servers, fields[1])
		case "domain":
			r.search = fields[1:2]
		case "search":
			r.search = fields[1:]
		case "options":
			r.options = append(r.options, fields[1:]...)
		}
	}
	return r
}

func (r resolv) String() string {
	var b strings.Builder
	for _, s := range r.servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.search, " "))
	}
	if len(r.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.options, " "))
	}
	return b.String()
}

// breaksResolver: the host's option makes sense only with the host's servers.
func breaksResolver(option string) bool {
	name, _, _ := strings.Cut(option, ":")
	return name == "trust-ad" || name == "rotate" || name == "ndots"
}

func isLoopback(server string) bool {
	a, err := netip.ParseAddr(server)
	return err == nil && a.IsLoopback()
}

func texts(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}
