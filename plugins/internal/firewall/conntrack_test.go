package firewall

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// talker is a UDP client that keeps its port.
type talker struct{ conn *net.UDPConn }

func (s *space) talker(t *testing.T, port int) *talker {
	t.Helper()
	var c talker
	s.do(t, func() {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		check(t, err)
		c.conn = conn
	})
	t.Cleanup(func() { _ = c.conn.Close() })
	return &c
}

// says sends one packet and gives who answers, "" for nobody.
func (c *talker) says(to string, timeout time.Duration) string {
	_, _ = c.conn.WriteToUDPAddrPort([]byte("?"), netip.MustParseAddrPort(to))
	_ = c.conn.SetReadDeadline(time.Now().Add(timeout))
	buffer := make([]byte, 64)
	n, _, err := c.conn.ReadFromUDPAddrPort(buffer)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(string(buffer[:n]), " ")
	return name
}

// A conversation from one client port follows the port's mapping at once: from
// nobody to a container, to its successor, to nobody (kubernetes#102559,
// plugins#1190). Conversations that have nothing to do with it go on.
func TestConversationFollowsTheMapping(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		w.web.serve(t, 80)
		w.peer.serve(t, 80)
		w.outside.serve(t, 8080)
		w.apply(t, b, plainly("other", network(2)))
		web, peer := publishing("web", 2, 8080, 80), publishing("peer", 3, 8080, 80)
		client, bystander := w.outside.talker(t, 4000), w.other.talker(t, 4000)
		for _, to := range []string{"192.0.2.1:8080", "[2001:db8::1]:8080"} {
			expect := func(want string) {
				t.Helper()
				timeout := answered
				if want == "" {
					timeout = unanswered
				}
				if got := client.says(to, timeout); got != want {
					t.Errorf("%s: answered by %q, want %q", to, got, want)
				}
			}
			expect("")
			w.apply(t, b, web)
			expect("web")
			bystander.says("192.0.2.2:8080", answered)
			entries := w.tracked(t, "192.0.2.2")
			w.remove(t, b, web, nil)
			expect("")
			w.apply(t, b, peer)
			expect("peer")
			w.remove(t, b, peer, nil)
			if after := w.tracked(t, "192.0.2.2"); entries != 1 || after != entries {
				t.Errorf("connections of others: %d before, %d after", entries, after)
			}
		}
	})
}

// tracked counts the UDP connections to an address.
func (w *world) tracked(t *testing.T, to string) int {
	t.Helper()
	count := 0
	for _, flow := range w.flows(t, ipv4, wire.UDP) {
		if flow.dst.String() == to {
			count++
		}
	}
	return count
}

// flows reads the host's table as the product does.
func (w *world) flows(t *testing.T, f family, protocol wire.Protocol) (all []flow) {
	t.Helper()
	w.host.do(t, func() {
		conn, done, err := dialConntrack()
		check(t, err)
		defer done()
		all, err = dumpFlows(conn, f, protocol)
		check(t, err)
	})
	return all
}

// SCTP sockets are rare; its entries are made by hand.
func TestConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	w := &world{host: newSpace(t, "host")}
	w.host.sh(t, `
ip addr add 192.0.2.1/24 dev lo
add() { case $2 in sctp) set -- "$@" --orig-vtag 1 --reply-vtag 1;; esac; conntrack -I -t 100 "$@" 2>&1; }
add -p sctp -s 192.0.2.2 -d 192.0.2.1 --sport 1 --dport 8080 --state ESTABLISHED --reply-src 10.88.0.2 --reply-dst 192.0.2.2 --reply-port-src 80 --reply-port-dst 1
add -p sctp -s 192.0.2.2 -d 192.0.2.1 --sport 2 --dport 8080 --state ESTABLISHED
add -p sctp -s 192.0.2.2 -d 192.0.2.1 --sport 3 --dport 8081 --state ESTABLISHED
add -p sctp -s 192.0.2.2 -d 198.51.100.1 --sport 4 --dport 8080 --state ESTABLISHED
add -p udp -s 192.0.2.2 -d 192.0.2.1 --sport 5 --dport 8080
add -p sctp -s 192.0.2.2 -d 192.0.2.1 --sport 6 --dport 9005 --state ESTABLISHED
add -p sctp -s 192.0.2.2 -d 192.0.2.1 --sport 7 --dport 7000 --state ESTABLISHED --reply-src 10.88.0.2 --reply-dst 192.0.2.2 --reply-port-src 7 --reply-port-dst 7`)
	p := wire.Publish{Protocol: wire.SCTP, HostPort: 8080, Container: netip.MustParseAddr("10.88.0.2"), ContainerPort: 80}
	many := p
	many.HostPort, many.Count = 9000, 10
	w.host.do(t, func() { check(t, forgetConnections([]wire.Publish{p, many}, dialConntrack)) })
	var left []uint16
	for _, flow := range w.flows(t, ipv4, wire.SCTP) {
		left = append(left, flow.dport)
		if flow.dport != 8081 && flow.dst.String() != "198.51.100.1" {
			t.Errorf("left: %s port %d, answered by %s", flow.dst, flow.dport, flow.replySrc)
		}
	}
	if udp := w.flows(t, ipv4, wire.UDP); len(left) != 2 || len(udp) != 1 {
		t.Errorf("left %v and %d of UDP, want two and one", left, len(udp))
	}
}

func FuzzParseFlow(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 20, 0, 1, 128, 8, 0, 1, 0, 1, 2, 3, 4, 8, 0, 2, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, message []byte) {
		_, _ = parseFlow(message) // must not panic
	})
}
