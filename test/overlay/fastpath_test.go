package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// watched counts what the rules about forwarded packets see of the containers'
// echo, as an administrator's would; and packets to the port that expires sends
// to, which are to be untracked although they do not take the fast path.
const watched = `add table ip watched; add chain ip watched forwarded { type filter hook forward priority -300; }
add rule ip watched forwarded tcp dport 7 counter; add rule ip watched forwarded tcp sport 7 counter
add table ip expiring; add chain ip expiring arriving { type filter hook prerouting priority -150; }
add rule ip expiring arriving udp dport 9 ct state != untracked drop`

// TestFastPath: with the option, packets between containers on two hosts pass by
// what else the hosts do with forwarded packets. A container that publishes a
// port does not take it, and its port answers by the gateway's address, which
// takes translation in both directions.
func TestFastPath(t *testing.T) {
	for _, firewall := range []string{"nftables", "iptables"} {
		t.Run(firewall, func(t *testing.T) {
			w := hosts.New(t, binaries, 2)
			w.FastPath = store.FastOn
			w.WritePeers(w.Peers())
			for _, h := range w.Hosts {
				h.Firewall = firewall
				must(t, h.NS.Run("nft", watched))
				h.Start("--peers", h.PeersFile())
			}
			for _, h := range w.Hosts {
				h.Ready(1)
				awaitUsable(h, "blue", 2)
			}
			a, b := w.Hosts[0], w.Hosts[1]
			one, two := a.Add("blue"), b.Add("blue")
			takesFastPath(t, a, one.Addr)
			takesFastPath(t, b, two.Addr)
			// Again where it was not so: a probe that is late on a busy machine makes
			// a peer one that takes less than the tunnel's MTU.
			var before string
			eventually(t, "nothing is forwarded", func() bool {
				before = forwarded(t, w)
				for range 10 {
					must(t, one.Reach(two.Addr, hosts.Patience))
					must(t, two.Reach(one.Addr, hosts.Patience))
				}
				return forwarded(t, w) == before
			})
			expires(t, one, two.Addr)

			port := b.Publish("blue", 8080)
			gateway := netip.MustParseAddrPort("10.100.2.1:8080")
			for range 20 {
				conn, err := hosts.DialFrom(one.NS, gateway, hosts.Patience)
				must(t, err)
				must(t, errors.Join(hosts.Echo(conn, hosts.Patience), conn.Close()))
			}
			must(t, one.Reach(port.Addr, hosts.Patience))
			if now := forwarded(t, w); now == before {
				t.Error("nothing was forwarded: the counters prove nothing")
			}
			s, err := b.Control().Status(t.Context())
			must(t, err)
			if slices.Contains(s.Networks[0].Fast, port.Addr) {
				t.Errorf("a container that publishes a port takes the fast path: %v", s.Networks[0].Fast)
			}

			// Its bridge made anew has another number; who leaves takes its place back.
			must(t, two.Del())
			must(t, port.Del())
			b.Await("nobody on the fast path", func(s control.Status) bool { return len(s.Networks[0].Fast) == 0 })
			eventually(t, "the fast path is away", func() bool {
				text, err := b.NS.Output("nft", "list", "tables")
				return err == nil && !strings.Contains(text, "netdev")
			})
			again := b.Add("blue")
			takesFastPath(t, b, again.Addr)
			must(t, one.Reach(again.Addr, hosts.Patience))
		})
	}
}

// takesFastPath waits until overlayd has seen a container.
func takesFastPath(t *testing.T, h *hosts.Host, container netip.Addr) {
	t.Helper()
	key := fmt.Sprintf(" . %s : ", container)
	eventually(t, container.String()+" takes the fast path", func() bool {
		text, err := h.NS.Output("nft", "list", "table", "netdev", "netctl-overlay")
		return err == nil && strings.Count(text, key) == 2 && strings.Contains(text, "holds-")
	})
}

// forwarded is what the hosts' counters say.
func forwarded(t *testing.T, w *hosts.World) (counted string) {
	t.Helper()
	for _, h := range w.Hosts {
		text, err := h.NS.Output("nft", "list", "table", "ip", "watched")
		must(t, err)
		counted += fmt.Sprint(regexp.MustCompile(`packets \d+`).FindAllString(text, -1))
	}
	return counted
}

// expires: a packet that has no hop left is answered by the host, as everywhere.
func expires(t *testing.T, from *hosts.Container, to netip.Addr) {
	t.Helper()
	must(t, from.NS.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		limit := unix.NsecToTimeval(time.Second.Nanoseconds())
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 1), unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
			unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: to.As4()}))
		if err != nil {
			return err
		}
		for range int(hosts.Patience / time.Second) { // a datagram can be lost
			if _, err = unix.Write(fd, []byte{1}); err == nil { // else it tells of the last one's answer
				_, err = unix.Read(fd, make([]byte, 1))
			}
			if errors.Is(err, unix.EHOSTUNREACH) {
				return nil
			}
		}
		return fmt.Errorf("a packet with one hop left: %v, want %v (time exceeded)", err, unix.EHOSTUNREACH)
	}))
}
