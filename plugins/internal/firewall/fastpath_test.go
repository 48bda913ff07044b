package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// fastFence is a fence with a fast path, of a tunnel and a bridge that are there.
func fastFence(t testing.TB, host *netns.Namespace) wire.Fence {
	t.Helper()
	for _, name := range []string{fence().Device, "nb-blue"} {
		if err := host.Run("ip", "link", "add", name, "type", "bridge"); err != nil {
			t.Fatal(err)
		}
	}
	return fastFenceOf(t)
}

// fastFenceOf is one of links that are there already.
func fastFenceOf(t testing.TB) wire.Fence {
	t.Helper()
	f := fence()
	number := func(name string) uint32 {
		link, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(link.Index)
	}
	f.Tunnel = number(f.Device)
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	f.Fast = wire.FastPath{
		Networks: []wire.FastNetwork{{Bridge: "nb-blue", Number: number("nb-blue"), Group: 7, Containers: []netip.Addr{addr("10.100.1.2"), addr("fd00:1:0:0:1::2")}}},
		Peers:    []wire.FastPeer{{Pool: prefix("10.100.2.0/24"), Via: addr("192.0.2.2")}, {Pool: prefix("fd00:1:0:0:2::/80"), Via: addr("fe80::56:c0ff:fe00:202")}},
	}
	return f
}

func TestAFastPathIsWrittenOnce(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		f := fastFence(t, host)
		for _, want := range []bool{true, false} {
			if written, err := ApplyFastPath(f); err != nil || written != want {
				t.Fatalf("written %v, %v; want %v", written, err, want)
			}
		}
		// What nft does not show of the rules, TestAFastPathForwards does.
		contains(t, fenceText(t, host), "10.100.2.0/24 : 192.0.2.2", "fd00:1:0:0:2::/80 : fe80::56:c0ff:fe00:202",
			"0x00000007 . 10.100.1.2 : ", `"nb-blue" . 10.100.1.2 : `, `hook ingress device "netctl-overlay"`, `hook ingress device "nb-blue"`,
			"meta pkttype host ip ttl > 1 meta mark set 0x00000000 fwd ip to ip daddr device meta mark . ip daddr map @inward",
			`meta pkttype host ip ttl > 1 meta mark set iif . ip saddr map @outward fwd ip to ip daddr map @next device "netctl-overlay"`,
			"meta pkttype host ip6 hoplimit > 1 meta mark set 0x00000000 fwd ip6 to ip6 daddr device meta mark . ip6 daddr map @inward6",
			`meta pkttype host ip6 hoplimit > 1 meta mark set iif . ip6 saddr map @outward6 fwd ip6 to ip6 daddr map @next6 device "netctl-overlay"`)

		// Half of it is found and made whole.
		if err := host.Run("nft", "flush table netdev netctl-overlay; delete table netdev netctl-overlay; add table netdev netctl-overlay; add chain netdev netctl-overlay from-nb-blue"); err != nil {
			t.Fatal(err)
		}
		if written, err := ApplyFastPath(f); err != nil || !written {
			t.Errorf("repair: written %v, %v", written, err)
		}
		f.Fast.Networks[0].Number = 0 // the bridge is gone
		for _, want := range []bool{true, false} {
			if written, err := ApplyFastPath(f); err != nil || written != want {
				t.Errorf("without its bridge: written %v, %v; want %v", written, err, want)
			}
		}
		if text := fenceText(t, host); text != "" {
			t.Errorf("left: %s", text)
		}
		if err := RemoveFastPath(); err != nil {
			t.Error(err)
		}
	})
}

// TestAFenceLeavesTheFastPathUntracked, and nothing else.
func TestAFenceLeavesTheFastPathUntracked(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		f := fastFence(t, host)
		if _, err := ApplyFence(f, false); err != nil {
			t.Fatal(err)
		}
		text := fenceText(t, host)
		contains(t, text, "ip saddr @fast-to ip daddr @fast notrack accept", `iifname "nb-blue" ip saddr @fast ip daddr @fast-to notrack accept`,
			"ip6 saddr @fast-to ip6 daddr @fast notrack accept", `iifname "nb-blue" ip6 saddr @fast ip6 daddr @fast-to notrack accept`)
		for i := range few {
			n := f.Fast.Networks[0]
			n.Bridge = fmt.Sprintf("nb-%d", i)
			f.Fast.Networks = append(f.Fast.Networks, n)
		}
		f.Fast.Networks = f.Fast.Networks[1:]
		f.Fast.Networks = append(f.Fast.Networks, wire.FastNetwork{Bridge: "nb-blue"})
		if _, err := ApplyFence(f, false); err != nil {
			t.Fatal(err)
		}
		contains(t, fenceText(t, host), "iifname @bridges ip saddr @fast ip daddr @fast-to notrack accept")
		f.Fast = wire.FastPath{}
		if _, err := ApplyFence(f, false); err != nil {
			t.Fatal(err)
		}
		if text := fenceText(t, host); strings.Contains(text, "@fast") {
			t.Errorf("without a fast path:\n%s", text)
		}
	})
}

// TestAFastPathForwards sends packets of each kind through a host whose rules
// drop whatever they see: only what may take the fast path arrives, in both
// directions, with one hop less and, towards the tunnel, the group as its mark.
func TestAFastPathForwards(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		near, far := joined(t, host, "nb-blue", "10.100.1"), joined(t, host, "netctl-overlay", "10.100.2")
		f := fastFenceOf(t)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(host.Run("sysctl", "-q", "net.ipv4.ip_forward=1"))
		must(far.Run("ip", "addr", "add", "10.100.3.2/32", "dev", "eth0")) // of no peer
		must(near.Run("ip", "addr", "add", "10.100.1.3/24", "dev", "eth0"))
		// The far end stands for the peer's, so its address is the next hop.
		f.Fast.Peers[0].Via = netip.MustParseAddr("10.100.2.2")
		_, err := ApplyFastPath(f)
		must(err)
		must(host.Run("nft", `table inet closed {
	chain forward { type filter hook forward priority 0; policy drop; }
}
table netdev sent {
	chain arriving { type filter hook ingress device "netctl-overlay" priority -10; meta mark set 7; udp dport 8 meta mark set 8; }
	chain leaving { type filter hook egress device "netctl-overlay" priority 0; meta protocol ip meta mark != 7 drop; }
	chain entering { type filter hook egress device "nb-blue" priority 0; meta mark != 0 drop; }
}`))
		taps := [2]int{tap(t, f.Fast.Networks[0].Number), tap(t, f.Tunnel)}
		for _, c := range []struct {
			name     string
			from, at *netns.Namespace
			source   string
			to       string
			ttl      int
			arrives  bool
		}{
			{"out", near, far, "10.100.1.2", "10.100.2.2:9", 2, true},
			{"out, no hop left", near, far, "10.100.1.2", "10.100.2.2:9", 1, false},
			{"out, from an address that may not", near, far, "10.100.1.3", "10.100.2.2:9", 2, false},
			{"out, to no pool of a peer", near, far, "10.100.1.2", "10.100.3.2:9", 2, false},
			{"in", far, near, "10.100.2.2", "10.100.1.2:9", 2, true},
			{"in, no hop left", far, near, "10.100.2.2", "10.100.1.2:9", 1, false},
			{"in, from no pool of a peer", far, near, "10.100.3.2", "10.100.1.2:9", 2, false},
			{"in, to an address that may not", far, near, "10.100.2.2", "10.100.1.3:9", 2, false},
			{"in, of another group", far, near, "10.100.2.2", "10.100.1.2:8", 2, false},
		} {
			if err := arrives(c.from, c.at, c.source, c.to, c.ttl, c.arrives); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		for i, link := range []string{"nb-blue", "netctl-overlay"} {
			if in, out := tapped(taps[i]); !in || !out {
				t.Errorf("tcpdump on %s would see what comes: %v, what goes: %v; want both", link, in, out)
			}
		}
		must(near.Run("ip", "neigh", "replace", "10.100.1.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent"))
		if err := arrives(near, far, "10.100.1.2", "10.100.2.2:9", 2, false); err != nil {
			t.Errorf("a frame for another host: %v", err)
		}
	})
}

// tap listens to a link as tcpdump does.
func tap(t *testing.T, link uint32) int {
	t.Helper()
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in the network's order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(link)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// tapped tells whether UDP datagrams to port 9 have come by the link, and gone.
func tapped(fd int) (in, out bool) {
	for packet := make([]byte, 2048); ; {
		n, from, err := unix.Recvfrom(fd, packet, 0)
		if err != nil {
			return in, out
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n < 24 || packet[0] != 0x45 || packet[9] != unix.IPPROTO_UDP || packet[23] != 9 {
			continue
		}
		if link.Pkttype == unix.PACKET_OUTGOING {
			out = true
		} else {
			in = true
		}
	}
}

// arrives sends datagrams until one with one hop less is there, or has not come
// within a moment.
func arrives(from, at *netns.Namespace, source, to string, ttl int, want bool) error {
	target := netip.MustParseAddrPort(to)
	var heard, conn *net.UDPConn
	err := errors.Join(
		at.Do(func() (err error) { heard, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(target)); return err }),
		from.Do(func() (err error) {
			conn, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(target))
			return err
		}))
	if err != nil {
		return err
	}
	defer heard.Close()
	defer conn.Close()
	set := func(c *net.UDPConn, option, value int) error {
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, option, value) }), err)
	}
	if err := errors.Join(set(conn, unix.IP_TTL, ttl), set(heard, unix.IP_RECVTTL, 1)); err != nil {
		return err
	}
	tries := 3
	if want {
		tries = 300 // each of them 0.1 s
	}
	for range tries {
		_, _ = conn.Write([]byte{1})
		control := make([]byte, 64)
		if err := heard.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		_, n, _, _, err := heard.ReadMsgUDP(make([]byte, 8), control)
		if err != nil {
			continue
		}
		if !want {
			return errors.New("it arrived")
		}
		messages, err := unix.ParseSocketControlMessage(control[:n])
		if err != nil || len(messages) != 1 || int(messages[0].Data[0]) != ttl-1 {
			return fmt.Errorf("hops left: %v, %v; want %d", messages, err, ttl-1)
		}
		return nil
	}
	if want {
		return errors.New("it did not arrive")
	}
	return nil
}
