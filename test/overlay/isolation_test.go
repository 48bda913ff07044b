package overlay

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/netns"
)

// moment is how long a packet may take that must not arrive. One that has to
// arrive gets as long as it needs.
const moment = 700 * time.Millisecond

// Row 24, networks: neither across hosts nor on one, unless both are open; and
// the same with so many networks that the fence looks them up.
func TestNetworksAreIsolated(t *testing.T) {
	eachPath(t, networksAreIsolated)
}

// eachPath runs a test by the hosts' rules, and by the fast path that passes them
// by.
func eachPath(t *testing.T, test func(t *testing.T, fast bool)) {
	for name, fast := range map[string]bool{"rules": false, "fast path": true} {
		t.Run(name, func(t *testing.T) { test(t, fast) })
	}
}

// worldWith is a world in which the fast path is taken or not.
func worldWith(t *testing.T, n int, fast bool) *hosts.World {
	t.Helper()
	w := hosts.New(t, binaries, n)
	w.FastPath = store.FastOff
	if fast {
		w.FastPath = store.FastOn
	}
	return w
}

func networksAreIsolated(t *testing.T, fast bool) {
	w := worldWith(t, 2, fast)
	startWithEtcd(t, w)
	a, b := w.Hosts[0], w.Hosts[1]
	a.CreateNetwork("red", "10.101.0.0/20")
	awaitUsable(b, "red", 2)
	blue, red, near := a.Add("blue"), b.Add("red"), a.Add("red")
	if fast {
		takesFastPath(t, a, blue.Addr)
		takesFastPath(t, b, red.Addr)
		takesFastPath(t, a, near.Addr)
	}
	isolated(t, blue, red, near)
	for i := range 4 {
		name := fmt.Sprintf("more%d", i)
		a.CreateNetwork(name, fmt.Sprintf("10.%d.0.0/20", 102+i))
		awaitUsable(b, name, 2)
	}
	for _, h := range w.Hosts {
		eventually(t, "the fence looks up", func() bool {
			text, err := h.NS.Output("nft", "list", "table", "ip", "netctl-overlay")
			return err == nil && strings.Contains(text, "oifname @admit") && strings.Contains(text, "map @leaving")
		})
	}
	isolated(t, blue, red, near)
}

// isolated has a container of network red, on another host than one of network
// blue and a further one of red, reach its own network only.
func isolated(t *testing.T, blue, red, near *hosts.Container) {
	t.Helper()
	if _, err := near.Await(red.Addr); err != nil {
		t.Fatal(err)
	}
	for _, to := range []*hosts.Container{red, near} {
		if err := blue.Reach(to.Addr, moment); err == nil {
			t.Errorf("%s of network blue reached %s of network red", blue.ID, to.ID)
		}
	}
	if err := red.Reach(blue.Addr, moment); err == nil {
		t.Error("red reached blue")
	}
}

// Row 24, strangers: only members are heard, and only with sources that are
// theirs. The same packet from a member with a source of its pool arrives, so
// the other two could.
func TestForgedPacketsAreDropped(t *testing.T) {
	eachPath(t, forgedPacketsAreDropped)
}

func forgedPacketsAreDropped(t *testing.T, fast bool) {
	w := worldWith(t, 3, fast)
	startWithPeersFile(t, w)
	a, b := w.Hosts[0], w.Hosts[1]
	target := a.Add("blue")
	if fast {
		takesFastPath(t, a, target.Addr)
	}
	ear := listen(t, target)
	member := netip.MustParseAddr("10.100.2.9")
	forge := func(from *netns.Namespace, source netip.Addr, text string) {
		must(t, from.Do(func() error {
			out, err := net.Dial("udp", netip.AddrPortFrom(a.Addr, 4789).String())
			if err != nil {
				return err
			}
			defer out.Close()
			_, err = out.Write(vxlan(1, tunnelMAC(a.Addr), source, target.Addr, text))
			return err
		}))
	}
	ear.mustHear(t, "genuine", func() { forge(b.NS, member, "genuine") })
	forge(w.Switch, member, "stranger")
	if ear.hears(t, "stranger", moment) {
		t.Error("a tunnel packet from a stranger was delivered")
	}
	forge(b.NS, netip.MustParseAddr("10.100.1.9"), "own pool")
	if ear.hears(t, "own pool", moment) {
		t.Error("a packet from a member with a source of our own pool was delivered")
	}
	forge(b.NS, netip.MustParseAddr("198.51.100.9"), "foreign source")
	if ear.hears(t, "foreign source", moment) {
		t.Error("a packet with a foreign inner source was delivered")
	}
	// A container of this host that speaks for a member, to any of the host's addresses.
	inside := a.Add("blue")
	for _, to := range []netip.Addr{a.Addr, netip.MustParseAddr("10.100.1.1")} {
		must(t, inside.NS.Do(func() error {
			return sendRaw(datagram(b.Addr, to, 4789, vxlan(1, tunnelMAC(a.Addr), member, target.Addr, "spoken for")))
		}))
		if ear.hears(t, "spoken for", moment) {
			t.Errorf("a container was heard as a member, at %s", to)
		}
	}
	// A container that sends with another host's source does not get out; with
	// its own it does.
	far := b.Add("blue")
	if fast {
		takesFastPath(t, b, far.Addr)
	}
	from := func(source netip.Addr, text string) {
		must(t, far.NS.Do(func() error { return sendRaw(datagram(source, target.Addr, 9, []byte(text))) }))
	}
	ear.mustHear(t, "own source", func() { from(far.Addr, "own source") })
	from(netip.MustParseAddr("10.100.3.9"), "source of a third host")
	if ear.hears(t, "source of a third host", moment) {
		t.Error("a packet left its host with a source of another host's pool")
	}
	// A stranger that sends without tunnel, and one that asks for names.
	must(t, w.Switch.Run("ip", "route", "add", "10.100.1.0/24", "via", a.Addr.String()))
	must(t, w.Switch.Do(func() error { return sendRaw(datagram(member, target.Addr, 9, []byte("without tunnel"))) }))
	if ear.hears(t, "without tunnel", moment) {
		t.Error("a packet with a source of a member's pool was delivered without tunnel")
	}
	names := netip.AddrPortFrom(a.Addr, 4790)
	eventually(t, "a member may ask for names", func() bool {
		asks, err := hosts.DialFrom(b.NS, names, moment)
		return err == nil && asks.Close() == nil
	})
	if asks, err := hosts.DialFrom(w.Switch, names, moment); err == nil {
		asks.Close()
		t.Error("a stranger may ask for names")
	}
	// The wrong group.
	must(t, b.NS.Do(func() error {
		out, err := net.Dial("udp", netip.AddrPortFrom(a.Addr, 4789).String())
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = out.Write(vxlan(99, tunnelMAC(a.Addr), member, target.Addr, "other group"))
		return err
	}))
	if ear.hears(t, "other group", moment) {
		t.Error("a packet of another network's group was delivered")
	}
}

// An ear is a container's UDP port 9.
type ear struct{ conn *net.UDPConn }

func listen(t *testing.T, c *hosts.Container) (e ear) {
	t.Helper()
	must(t, c.NS.Do(func() (err error) {
		e.conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: 9})
		return err
	}))
	t.Cleanup(func() { _ = e.conn.Close() })
	return e
}

// all is what comes within the time.
func (e ear) all(t *testing.T, wait time.Duration) (texts []string) {
	t.Helper()
	for deadline := time.Now().Add(wait); ; {
		text, ok := e.next(t, deadline)
		if !ok {
			return texts
		}
		texts = append(texts, text)
	}
}

// hears tells whether a datagram with this text comes within the time.
func (e ear) hears(t *testing.T, text string, wait time.Duration) bool {
	t.Helper()
	for deadline := time.Now().Add(wait); ; {
		if got, ok := e.next(t, deadline); !ok || got == text {
			return ok
		}
	}
}

func (e ear) next(t *testing.T, deadline time.Time) (text string, ok bool) {
	t.Helper()
	must(t, e.conn.SetReadDeadline(deadline))
	buffer := make([]byte, 64)
	n, _, err := e.conn.ReadFrom(buffer)
	return string(buffer[:n]), err == nil
}

// mustHear sends until one arrives: a datagram can be lost.
func (e ear) mustHear(t *testing.T, text string, send func()) {
	t.Helper()
	for deadline := time.Now().Add(hosts.Patience); time.Now().Before(deadline); {
		if send(); e.hears(t, text, moment) {
			return
		}
	}
	t.Fatalf("%s does not arrive: the test proves nothing", text)
}

// tunnelMAC is derived from the tunnel's address (specification 5.3).
func tunnelMAC(a netip.Addr) [6]byte {
	b := a.As4()
	return [6]byte{0x02, 0x56, b[0], b[1], b[2], b[3]}
}

// vxlan is a packet of the tunnel (VNI 1) with an Ethernet frame that holds a
// UDP datagram to port 9.
func vxlan(group uint16, to [6]byte, source, target netip.Addr, text string) []byte {
	b := []byte{0x88, 0, byte(group >> 8), byte(group), 0, 0, 1, 0} // flags G and I, group, VNI
	b = append(b, to[:]...)
	b = append(b, 2, 0, 0, 0, 0, 9, 0x08, 0x00)
	return append(b, datagram(source, target, 9, []byte(text))...)
}

// sendRaw sends an IPv4 packet as it is, whatever its source, as root of a
// container can.
func sendRaw(packet []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
}

// datagram is an IPv4 packet with a UDP datagram from port 9, without checksum.
func datagram(source, target netip.Addr, port uint16, payload []byte) []byte {
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], source.AsSlice())
	copy(ip[16:], target.AsSlice())
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	udp := []byte{0, 9, byte(port >> 8), byte(port), 0, 0, 0, 0}
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	return slices.Concat(ip, udp, payload)
}

// Row 16: a host that was cut off from the store, and whose pool was reclaimed
// and claimed by another, notices when it is back. Its container can't reach
// other hosts any more, and the new owner is untouched.
func TestALostPoolIsFenced(t *testing.T) {
	w := hosts.New(t, binaries, 3)
	w.StartEtcd()
	for _, h := range w.Hosts {
		h.UseEtcdWith(map[string]any{"sessionSeconds": 3})
	}
	a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
	a.StartWithEtcd()
	b.StartWithEtcd()
	a.Ready(1)
	must(t, a.TryCreateNetwork("blue", 24, "10.100.0.0/23")) // two pools
	awaitUsable(b, "blue", 2)
	old := awaitUsable(a, "blue", 2).Pools[0]
	stranded, other := a.Add("blue"), b.Add("blue")
	_, err := stranded.Await(other.Addr)
	must(t, err)
	// The way to the store alone is cut; the data plane is not.
	must(t, w.Switch.Run("nft", fmt.Sprintf("add table ip cut; add chain ip cut in { type filter hook input priority 0; }; add rule ip cut in ip saddr %s tcp dport 2379 drop", a.Addr)))
	b.Await("a not alive", func(s control.Status) bool { return len(s.Peers) == 1 && s.Peers[0].Alive != nil && !*s.Peers[0].Alive })
	what, err := b.Control().Reclaim(t.Context(), "a")
	must(t, err)
	if !strings.Contains(what, old.String()) {
		t.Errorf("reclaimed %s, want %s", what, old)
	}
	c.StartWithEtcd()
	if got := awaitUsable(c, "blue", 2).Pools[0]; got != old {
		t.Fatalf("c has %s, want %s, which a still believes in", got, old)
	}
	owner := c.Add("blue")
	must(t, w.Switch.Run("nft", "delete", "table", "ip", "cut"))
	s := a.Await("aware of its loss", func(s control.Status) bool {
		return len(s.Networks) == 1 && len(s.Networks[0].Lost) > 0 && s.Networks[0].Exhausted != ""
	})
	if n := s.Networks[0]; len(n.Stranded) != 1 || n.Stranded[0] != stranded.ID {
		t.Errorf("status does not tell of the stranded container: %+v", n)
	}
	if _, err := owner.Await(other.Addr); err != nil {
		t.Errorf("the new owner's container: %v", err)
	}
	eventually(t, "the stranded container is cut off", func() bool { return stranded.Reach(other.Addr, moment) != nil })
	if _, err := a.TryAdd("blue"); err == nil {
		t.Error("an address of a lost pool was given out")
	}
	b.Await("the record of the winner", func(s control.Status) bool {
		for _, o := range s.Networks[0].Owners {
			if o.Node == "c" && len(o.Pools) == 1 && o.Pools[0] == old {
				return true
			}
		}
		return false
	})
}

// TestAClosedForwardChainLetsTheOverlayPass: on hosts whose own firewall drops
// what is forwarded (Docker's, ufw's), and on internal networks.
func TestAClosedForwardChainLetsTheOverlayPass(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	f := w.Peers()
	f.Networks[0].Definition = []byte(`{"cniVersion":"1.1.0","plugins":[{"type":"overlay","bridge":"nb-inner","isGateway":true,"isDefaultGateway":true,
		"internal":true,"isolate":true,"ipam":{"type":"netctl-ipam"},"capabilities":{}}]}`)
	w.WritePeers(f)
	for _, h := range w.Hosts {
		must(t, h.NS.Run("nft", "add table inet hostfw; add chain inet hostfw closed { type filter hook forward priority 0; policy drop; }"))
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(1)
		awaitUsable(h, "blue", 2)
	}
	one, two := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue")
	if _, err := one.Await(two.Addr); err != nil {
		t.Error(err)
	}
}
