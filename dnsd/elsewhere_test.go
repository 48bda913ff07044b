package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/dnsd/inside"
	"github.com/netctl/netctl/ipam/ledger"
)

// announce is sync with all that it can say, and what comes back.
func (w *world) announce(c client.Change) (ports []netip.AddrPort, err error) {
	w.t.Helper()
	err = w.host.Do(func() error {
		ports, err = client.Announce(context.Background(), w.dir, w.program(), c)
		return err
	})
	return ports, err
}

// TestPortTaken: where a server has port 53 of all addresses, over either
// transport, we have a port of our own and say so. As long as the ledger has
// that port, rules lead to it: a resolver that starts anew goes there, even if
// port 53 has become free.
func TestPortTaken(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24", "fd00:88::1/64")
	web := w.container("front", "web")
	stop := serveIn(t, w.host, "0.0.0.0", new(fakeUpstream)) // IPv4 alone
	st := w.startProcess(0)
	own := netip.MustParseAddrPort("10.88.0.1:10053")
	ports, err := w.announce(client.Change{Network: "front"})
	if err != nil || !slices.Equal(ports, []netip.AddrPort{own}) {
		t.Fatalf("beside a server of all addresses: ports %v, %v; want %s", ports, err, own)
	}
	check := func(when string) {
		t.Helper()
		for at, want := range map[string]string{own.String(): "10.88.0.2", "[fd00:88::1]:53": "10.88.0.2"} {
			for _, transport := range []string{"udp", "tcp"} {
				if got := answers(askAt(web.Namespace, transport, at, query("web", dns.TypeA))); got != want {
					t.Errorf("%s: %s over %s: %s", when, at, transport, got)
				}
			}
		}
	}
	check("with the server")
	r := w.record(web.key)
	r.Redirects = ports
	if err := w.sync(w.put(r), "front"); err != nil {
		t.Fatal(err)
	}
	check("once it is recorded")
	stop()
	syscall.Kill(st.PID, syscall.SIGKILL)
	w.successor(st.PID)
	check("without the server, after a restart")
}

// insideWorld has a container on a network without a gateway of the host.
func insideWorld(t *testing.T) (*world, *container, ledger.Record) {
	t.Helper()
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	w.container("front", "web")
	lone := &container{Namespace: namespace(t), w: w, key: ledger.Key{Network: "lan", Container: "id-lone", IfName: "eth0"}}
	return w, lone, ledger.Record{
		Key: lone.key, Netns: lone.Path(), Names: ledger.Names{Own: []string{"lone"}},
		Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix("192.0.2.9/24"), Gateway: netip.MustParseAddr("192.0.2.1")}},
	}
}

// TestInside: a container is served in its own namespace, by sockets that the
// plugin hands over; a resolver that is killed has them again; and when the
// container's names go, so do the sockets.
func TestInside(t *testing.T) {
	w, lone, r := insideWorld(t)
	st := w.startProcess(0)
	var sockets inside.Sockets
	err := lone.Do(func() (err error) { sockets, err = inside.Open(0); return err })
	if err != nil {
		t.Fatal(err)
	}
	r.Names.Inside = sockets.Port
	generation := w.put(r)
	_, err = w.announce(client.Change{Generation: generation, Network: "lan", Container: lone.key.Container, Sockets: sockets.Files()})
	sockets.Close()
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(inside.Addr, sockets.Port).String()
	check := func(when string) {
		t.Helper()
		for name, want := range map[string]string{"lone": "192.0.2.9", "lone.lan.netctl.internal": "192.0.2.9", "web": "SERVFAIL"} {
			for _, transport := range []string{"udp", "tcp"} {
				if got := answers(askAt(lone.Namespace, transport, at, query(name, dns.TypeA))); got != want {
					t.Errorf("%s: %s over %s: %s, want %s", when, name, transport, got, want)
				}
			}
		}
	}
	check("at first")
	syscall.Kill(st.PID, syscall.SIGKILL)
	st = w.successor(st.PID)
	check("after a restart")
	if err := w.sync(w.remove(r.Key), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := askAt(lone.Namespace, "tcp", at, query("lone", dns.TypeA)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
}

// TestInsideGone: a container whose namespace is gone holds nobody up.
func TestInsideGone(t *testing.T) {
	w, lone, r := insideWorld(t)
	r.Netns, r.Names.Inside = "/nonexistent/netns", 40000
	w.put(r)
	w.startProcess(0)
	if got := answers(ask(w.host, "udp", "10.88.0.1", query("web", dns.TypeA))); got != "10.88.0.2" {
		t.Errorf("another network: %s", got)
	}
	st, err := w.status()
	if err != nil || len(st.Listeners) != 2 || st.Listeners[1].Container != lone.key.Container || st.Listeners[1].Error == "" {
		t.Errorf("status %+v, %v; want the reason at the container's listener", st.Listeners, err)
	}
}

// TestLedgerReplaced: a damaged ledger is set aside and a new one begun. What was
// in the old one is forgotten, and what is in the new one is there.
func TestLedgerReplaced(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	old := w.container("front", "old")
	r := w.record(web.key)
	w.startProcess(0)
	for i := range 5 { // the old ledger's numbers go up
		r.Names.Servers = addrs(fmt.Sprintf("192.0.2.%d", i))
		if err := w.sync(w.put(r), "front"); err != nil {
			t.Fatal(err)
		}
	}
	w.damageLedger()
	time.Sleep(2 * time.Millisecond) // the new one's first number is the time
	if err := w.sync(w.put(r), "front"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"web": "10.88.0.2", "old.front.netctl.internal": "NXDOMAIN"} {
		if got := answers(ask(web.Namespace, "udp", "10.88.0.1", query(name, dns.TypeA))); got != want {
			t.Errorf("%s (%s): %s, want %s", name, old.key, got, want)
		}
	}
}
