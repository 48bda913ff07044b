package overlay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// adminRules are one that drops what connection tracking takes for invalid, and
// counts the rest, in the chain that is there for it; how to take them away; and how
// to read the counter.
var adminRules = map[string]struct{ write, clear, read string }{
	"nftables": {"nft add rule ip netctl admin ct state invalid drop; nft add rule ip netctl admin tcp sport 7 counter", "nft flush chain ip netctl admin",
		"nft list chain ip netctl admin"},
	"iptables": {"iptables -w -A NETCTL-ADMIN -m conntrack --ctstate INVALID -j DROP; iptables -w -A NETCTL-ADMIN -p tcp --sport 7", "iptables -w -F NETCTL-ADMIN",
		"iptables -w -nvxL NETCTL-ADMIN"},
}

// TestFastPathByDefault: a host whose administrator has no rules about forwarded
// packets takes the fast path; one with such rules shows them every packet, at once,
// for as long as there are any. Both work together, and neither a connection nor a
// conversation notices that the way changes, although the rules drop what looks like
// the middle of something unknown.
func TestFastPathByDefault(t *testing.T) {
	for mechanism, rules := range adminRules {
		t.Run(mechanism, func(t *testing.T) {
			w := hosts.New(t, binaries, 2)
			w.FastPath = store.FastAuto
			for _, h := range w.Hosts {
				h.Firewall = mechanism
			}
			startWithPeersFile(t, w)
			a, b := w.Hosts[0], w.Hosts[1]
			one, two := a.Add("blue"), b.Add("blue")
			// Of this connection everything is tracked at first, its windows included.
			for _, h := range w.Hosts {
				must(t, h.NS.Run("sh", "-e", "-c", rules.write))
				usualWay(t, h, "which the administrator wrote")
			}
			conn, err := hosts.DialFrom(one.NS, netip.AddrPortFrom(two.Addr, hosts.EchoPort), hosts.Patience)
			must(t, err)
			defer conn.Close()
			must(t, exchange(conn, 1<<20))
			for _, h := range w.Hosts {
				must(t, h.NS.Run("sh", "-e", "-c", rules.clear))
			}
			takesFastPath(t, a, one.Addr)
			takesFastPath(t, b, two.Addr)
			must(t, exchange(conn, 4<<20))
			probe, err := one.Probe(two)
			must(t, err)

			const rounds = 4
			for i := range rounds {
				h, container, other, far := a, one, b, two
				if i%2 == 1 {
					h, container, other, far = b, two, a, one
				}
				must(t, h.NS.Run("sh", "-e", "-c", rules.write))
				usualWay(t, h, "which the administrator wrote")
				must(t, exchange(conn, 4<<20)) // more than any window
				if text, err := h.NS.Output("sh", "-c", rules.read); err != nil || !regexp.MustCompile(`(packets|\n *)\s*[1-9]\d+ `).MatchString(text) {
					t.Errorf("his rules see nothing: %v\n%s", err, text)
				}
				takesFastPath(t, other, far.Addr)
				must(t, h.NS.Run("sh", "-c", rules.clear))
				takesFastPath(t, h, container.Addr)
				must(t, exchange(conn, 4<<20))
			}
			lost, sent := probe.End()
			t.Logf("%d of %d probes lost in %d changes of the way", lost, sent, 2*rounds)
			// Two datagrams that meet are the first of a conversation twice, of which
			// connection tracking drops one.
			if elsewhere := probe.Elsewhere(); lost > 4*rounds+elsewhere || sent < 100 {
				t.Errorf("%d of %d probes lost: numbers %q; %d dropped elsewhere", lost, sent, probe.Missing(), elsewhere)
			}
		})
	}
}

// TestFastPathKeepsFromOnlookers: other programs' rules count as the
// administrator's do, unless they are about something else; an overlayd that was
// away when they came finds them; a network that wants something else gets it.
func TestFastPathKeepsFromOnlookers(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	w.FastPath = store.FastAuto
	startWithPeersFile(t, w)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	takesFastPath(t, a, one.Addr)
	conn, err := hosts.DialFrom(one.NS, netip.AddrPortFrom(two.Addr, hosts.EchoPort), hosts.Patience)
	must(t, err)
	defer conn.Close()
	run := func(line string) { t.Helper(); must(t, a.NS.Run("sh", "-e", "-c", line)) }

	run("nft add table inet mine; nft add chain inet mine fw '{ type filter hook forward priority 5; }'; nft add rule inet mine fw ip saddr 172.17.0.0/16 drop")
	run("nft add rule inet mine fw ct state invalid drop")
	usualWay(t, a, "chain fw of table inet mine")
	must(t, exchange(conn, 1<<20))
	run("nft flush chain inet mine fw; nft add rule inet mine fw ip saddr 172.17.0.0/16 drop")
	takesFastPath(t, a, one.Addr)
	must(t, exchange(conn, 1<<20))

	a.Kill()
	run("nft add rule inet mine fw ct state invalid drop")
	a.Start("--peers", a.PeersFile())
	usualWay(t, a, "chain fw of table inet mine")
	must(t, exchange(conn, 1<<20))
	a.Kill()
	run("nft delete table inet mine")
	a.Start("--peers", a.PeersFile())
	takesFastPath(t, a, one.Addr)
	must(t, exchange(conn, 1<<20))

	w.FastPath = store.FastOff
	w.WritePeers(w.Peers())
	usualWay(t, a, "fast_path is false")
	must(t, exchange(conn, 1<<20))
	w.FastPath = store.FastOn
	w.WritePeers(w.Peers())
	takesFastPath(t, a, one.Addr)
	must(t, exchange(conn, 1<<20))
}

// usualWay waits until no packet takes the fast path, and status and doctor say why.
func usualWay(t *testing.T, h *hosts.Host, why string) {
	t.Helper()
	h.Await("on the usual way", func(s control.Status) bool {
		return len(s.Networks) == 1 && strings.Contains(s.Networks[0].UsualWay, why) && len(s.Networks[0].Fast) == 0
	})
	eventually(t, "the fast path is away", func() bool {
		text, err := h.NS.Output("nft", "list", "tables")
		return err == nil && !strings.Contains(text, "netdev")
	})
	findings, err := h.Control().Doctor(t.Context())
	must(t, err)
	told := false
	for _, f := range findings {
		told = told || f.OK && strings.HasPrefix(f.What, "usual way of network blue (") && strings.Contains(f.What, why)
	}
	if !told {
		t.Errorf("doctor says nothing of %q: %+v", why, findings)
	}
}

// exchange sends so many bytes, and has them back.
func exchange(conn net.Conn, n int64) error {
	if err := conn.SetDeadline(time.Now().Add(hosts.Patience)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(conn, zeros{}, n)
		sent <- err
	}()
	_, err := io.CopyN(io.Discard, conn, n)
	return errors.Join(err, <-sent)
}

// zeros are as many as one reads.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
