package etc

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

const localhost = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

// Hosts composes /etc/hosts: localhost, the container's own addresses, the
// names under which docker and podman let a container reach the host, and what
// was asked for. On the host's network it is the host's file.
func Hosts(c *runner.Config, f Facts) string {
	var b strings.Builder
	if c.Network.Kind == runner.NetworkHost {
		b.WriteString(f.HostHosts)
		if b.Len() > 0 && !strings.HasSuffix(f.HostHosts, "\n") {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(localhost)
		ownLines(&b, c, f.Attached)
	}
	gateway := hostGateway(c, f.Attached)
	for _, h := range c.Names.Hosts {
		addr := h.Addr
		if !addr.IsValid() {
			addr = gateway
		}
		if addr.IsValid() {
			fmt.Fprintf(&b, "%s\t%s\n", addr, h.Name)
		}
	}
	if gateway.IsValid() && c.Network.Kind == runner.NetworkAttached {
		fmt.Fprintf(&b, "%s\thost.docker.internal host.containers.internal\n", gateway)
	}
	return b.String()
}

// ownLines: one line per address with all the names the container calls itself.
func ownLines(b *strings.Builder, c *runner.Config, attached []runner.Attached) {
	names := c.Hostname
	if c.Domainname != "" {
		names = c.Hostname + "." + c.Domainname + " " + c.Hostname
	} else if short, _, dotted := strings.Cut(c.Hostname, "."); dotted {
		names += " " + short
	}
	n := 0
	for _, a := range attached {
		for _, p := range a.Addresses {
			fmt.Fprintf(b, "%s\t%s\n", p.Addr(), names)
			n++
		}
	}
	if n == 0 && names != "" { // so that a program can find its own name
		fmt.Fprintf(b, "127.0.1.1\t%s\n", names)
	}
}

// hostGateway is the address of the host as the container sees it.
func hostGateway(c *runner.Config, attached []runner.Attached) netip.Addr {
	if c.Network.Kind == runner.NetworkHost {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	var v6 netip.Addr
	for _, a := range attached {
		for _, g := range a.Gateways {
			if g.Is4() {
				return g
			}
			if !v6.IsValid() {
				v6 = g
			}
		}
	}
	return v6
}
