// Package probe is the doctor's real World: it reads /proc, makes connections
// from the namespaces of containers, asks name servers, and watches the packet
// filter's counters. It changes nothing.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/doctor"
	"github.com/netctl/netctl/netctl/runner/namespace"
)

// World is the machine that this process runs on.
type World struct {
	// Compare does an attachment's CHECK: the text of what differs, or "".
	Compare func(ctx context.Context, container, network string) (string, error)
	// Patience with what does not answer; zero means 2 s.
	Patience time.Duration
}

var _ doctor.World = World{}

const defaultPatience = 2 * time.Second

func (w World) patience() time.Duration {
	if w.Patience > 0 {
		return w.Patience
	}
	return defaultPatience
}

func in(ns doctor.Namespace, f func() error) error { return namespace.InNet(string(ns), f) }

// Links implements doctor.World.
func (w World) Links(ns doctor.Namespace) ([]doctor.Link, error) {
	var links []doctor.Link
	err := in(ns, func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			l := doctor.Link{Name: i.Name, Up: i.Flags&net.FlagUp != 0, MTU: i.MTU}
			addresses, err := i.Addrs()
			if err != nil {
				return err
			}
			for _, a := range addresses {
				if p, err := netip.ParsePrefix(a.String()); err == nil {
					l.Addresses = append(l.Addresses, p)
				}
			}
			links = append(links, l)
		}
		return err
	})
	return links, err
}

// Neighbours implements doctor.World. The limit is shown in the machine's first
// namespace only.
func (w World) Neighbours(family string) (n, limit int, err error) {
	value, err := w.Sysctl(doctor.Host, "net."+family+".neigh.default.gc_thresh3")
	if value == "" || err != nil {
		return 0, 0, err
	}
	if limit, err = strconv.Atoi(value); err != nil {
		return 0, 0, fmt.Errorf("read the limit of the neighbour table: %w", err)
	}
	table := map[string]string{"ipv4": "arp_cache", "ipv6": "ndisc_cache"}[family]
	text, err := os.ReadFile("/proc/net/stat/" + table)
	if err != nil {
		return 0, 0, err
	}
	if n, err = parseEntries(string(text)); err != nil {
		return 0, 0, fmt.Errorf("read the number of entries in %s: %w", table, err)
	}
	return n, limit, nil
}

// parseEntries reads a file of /proc/net/stat about neighbours: names of columns,
// then a line for each processor. The first column is the number of entries, in
// base 16, and the same in all lines.
func parseEntries(text string) (int, error) {
	_, lines, _ := strings.Cut(text, "\n")
	entries, _, _ := strings.Cut(lines, " ")
	n, err := strconv.ParseUint(entries, 16, 31)
	return int(n), err
}

// Sysctl implements doctor.World. A setting that the kernel doesn't have reads
// as "".
func (w World) Sysctl(ns doctor.Namespace, key string) (value string, err error) {
	// Interface names may have dots in them, so only the part before and
	// behind one is taken apart.
	path := strings.ReplaceAll(key, ".", "/")
	if parts := strings.SplitN(key, ".", 4); len(parts) == 4 && parts[2] == "conf" {
		at := strings.LastIndexByte(parts[3], '.')
		path = strings.Join(parts[:3], "/") + "/" + parts[3][:at] + "/" + parts[3][at+1:]
	}
	err = in(ns, func() error {
		b, err := os.ReadFile("/proc/sys/" + path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		value = strings.TrimSpace(string(b))
		return err
	})
	return value, err
}

// Routed implements doctor.World: the kernel chooses a source address for a
// socket that is connected, which for UDP sends nothing.
func (w World) Routed(ns doctor.Namespace, to netip.Addr) (link string, ok bool, err error) {
	err = in(ns, func() error {
		local, err := source(to)
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return nil
		}
		if err != nil {
			return err
		}
		ok = true
		link, err = linkOf(local, to)
		return err
	})
	return link, ok, err
}

func source(to netip.Addr) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// linkOf is the interface with a source address; of several, the one whose
// network has the destination.
func linkOf(local, to netip.Addr) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	found := ""
	for _, i := range all {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.Addr() != local {
				continue
			}
			if found == "" || p.Masked().Contains(to) {
				found = i.Name
			}
		}
	}
	return found, nil
}

// Dial implements doctor.World.
func (w World) Dial(ctx context.Context, ns doctor.Namespace, network string, to netip.AddrPort) error {
	return in(ns, func() error {
		d := net.Dialer{Timeout: w.patience()}
		conn, err := d.DialContext(ctx, network, to.String())
		if err != nil {
			return err
		}
		if network == "udp" { // connecting has sent nothing
			_, err = conn.Write(nil)
		}
		return errors.Join(err, conn.Close())
	})
}

// Swallowed implements doctor.World: what is too large for a later link comes
// back as an ICMP message, which the kernel remembers; the next attempt fails
// with EMSGSIZE then.
func (w World) Swallowed(ctx context.Context, ns doctor.Namespace, to netip.Addr, size int) (bool, error) {
	swallowed := true
	err := in(ns, func() error {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := neverFragment(conn, to.Is4()); err != nil {
			return err
		}
		const headers = 48 // of IPv6 and UDP; more than those of IPv4
		packet := bytes.Repeat([]byte{0}, size-headers)
		deadline := time.Now().Add(w.patience())
		for swallowed && time.Now().Before(deadline) && ctx.Err() == nil {
			_, err := conn.Write(packet)
			swallowed = !errors.Is(err, unix.EMSGSIZE)
			time.Sleep(20 * time.Millisecond) // an ICMP message from the host's next link takes less
		}
		return ctx.Err()
	})
	return swallowed, err
}

// neverFragment sets the "don't fragment" bit and refuses what is known to be
// too large (ip(7), IP_MTU_DISCOVER).
func neverFragment(conn *net.UDPConn, is4 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if is4 {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
	})
	return errors.Join(err, failed)
}

// Attachment implements doctor.World.
func (w World) Attachment(ctx context.Context, container, network string) error {
	text, err := w.Compare(ctx, container, network)
	if err != nil {
		return fmt.Errorf("check %s on %s: %w", container, network, err)
	}
	if text != "" {
		return &doctor.Difference{Text: text}
	}
	return nil
}
