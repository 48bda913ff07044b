package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// A Claim is a prefix that is in use already, and by what.
type Claim struct {
	Prefix netip.Prefix
	Holder string // "network my-bridge", "route via eth1", "address of eth0"
}

// An OverlapError says what a wanted subnet collides with.
type OverlapError struct {
	Wanted netip.Prefix
	Claim  Claim
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("%s overlaps %s (%s)", e.Wanted, e.Claim.Prefix, e.Claim.Holder)
}

func checkFree(wanted netip.Prefix, claims []Claim) error {
	for _, c := range claims {
		if c.Prefix.Overlaps(wanted) {
			return &OverlapError{Wanted: wanted, Claim: c}
		}
	}
	return nil
}

// claims lists what a network takes.
func (n Network) claims() []Claim {
	var list []Claim
	for _, s := range n.Subnets() {
		list = append(list, Claim{Prefix: s.Prefix, Holder: "network " + n.Name})
	}
	return list
}

// HostClaims reads the routes and addresses of this network namespace. The
// kernel's text files serve for the routes, so that this package needs no
// netlink.
func HostClaims() ([]Claim, error) {
	var claims []Claim
	for _, table := range []struct {
		path string
		read func(io.Reader) ([]Claim, error)
	}{{"/proc/net/route", readRoutes4}, {"/proc/net/ipv6_route", readRoutes6}} {
		file, err := os.Open(table.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read the host's routes: %w", err)
		}
		found, err := table.read(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("read the host's routes: %s: %w", table.path, err)
		}
		claims = append(claims, found...)
	}
	addresses, err := hostAddresses()
	return append(claims, addresses...), err
}

// hostAddresses matter beside the routes: a link that is down has no route.
func hostAddresses() ([]Claim, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("read the host's addresses: %w", err)
	}
	var claims []Claim
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			continue // the link has gone since
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				claims = append(claims, Claim{Prefix: prefix.Masked(), Holder: "address of " + link.Name})
			}
		}
	}
	return claims, nil
}

// everywhere tells of routes that stand for "the rest of the world": default
// routes, and the halves and eighths that VPN clients use in their place
// (0.0.0.0/1 with 128.0.0.0/1, 2000::/3). They are no reason to refuse a subnet.
func everywhere(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() <= 1
	}
	return p.Bits() <= 3 || p.Addr().IsMulticast()
}

// readRoutes4 reads /proc/net/route (fib_route_seq_show in net/ipv4/fib_trie.c):
// a head line, then interface, destination, gateway, flags, three counters and
// the mask; the addresses are the machine's words in hexadecimal.
func readRoutes4(r io.Reader) ([]Claim, error) {
	return readRoutes(r, func(field []string) (netip.Prefix, string, error) {
		if len(field) < 8 || field[0] == "Iface" {
			return netip.Prefix{}, "", nil
		}
		to, err := word(field[1])
		if err != nil {
			return netip.Prefix{}, "", err
		}
		mask, err := word(field[7])
		if err != nil {
			return netip.Prefix{}, "", err
		}
		ones, _ := net.IPMask(mask[:]).Size()
		return netip.PrefixFrom(netip.AddrFrom4(to), ones), field[0], nil
	})
}

// word turns the kernel's %08X of a big-endian word back into its four bytes.
func word(text string) ([4]byte, error) {
	var b [4]byte
	n, err := strconv.ParseUint(text, 16, 32)
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return b, err
}

// readRoutes6 reads /proc/net/ipv6_route (rt6_info_route in net/ipv6/route.c):
// destination, its length in hexadecimal, the same of the source, the next
// hop, metric, two counters, flags, interface. The local table is in it too.
func readRoutes6(r io.Reader) ([]Claim, error) {
	return readRoutes(r, func(field []string) (netip.Prefix, string, error) {
		if len(field) < 10 || field[9] == "lo" {
			return netip.Prefix{}, "", nil
		}
		b, err := hex.DecodeString(field[0])
		if err != nil {
			return netip.Prefix{}, "", err
		}
		to, ok := netip.AddrFromSlice(b)
		bits, err := strconv.ParseUint(field[1], 16, 8)
		if err != nil || !ok || bits > 128 {
			return netip.Prefix{}, "", fmt.Errorf("invalid destination %q/%q", field[0], field[1])
		}
		return netip.PrefixFrom(to, int(bits)), field[9], nil
	})
}

// readRoutes makes a claim of each line; one without a prefix is skipped.
func readRoutes(r io.Reader, line func(field []string) (netip.Prefix, string, error)) ([]Claim, error) {
	var claims []Claim
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		prefix, link, err := line(strings.Fields(lines.Text()))
		if err != nil {
			return nil, err
		}
		if prefix.IsValid() && !everywhere(prefix) {
			claims = append(claims, Claim{Prefix: prefix.Masked(), Holder: "route via " + link})
		}
	}
	return claims, lines.Err()
}
