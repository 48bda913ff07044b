package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// Row 7: a restart with nothing changed writes nothing, neither to the routes
// nor to the packet filter.
func TestRestartWritesNothing(t *testing.T) {
	w, _ := etcdWorld(t, 3)
	a := w.Hosts[0]
	a.Add("blue")
	// A last pass may follow the container's own changes.
	before := a.Await("settled", func(s control.Status) bool { return s.Passes.Writes > 0 })
	for deadline := time.Now().Add(hosts.Patience); ; time.Sleep(50 * time.Millisecond) {
		// The kernel looks for duplicates of its own link-local addresses for a
		// second or two, and announces the end of that.
		if out, err := a.NS.Output("ip", "-6", "addr", "show", "tentative"); err == nil && out == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("addresses stay tentative")
		}
	}
	monitor, err := hosts.Listen(a.NS)
	must(t, err)
	defer monitor.Close()
	if _, err := monitor.Heard(); err != nil {
		t.Fatal(err)
	}
	base, err := monitor.Heard()
	must(t, err)
	start := fmt.Sprint(base)
	a.Stop()
	a.StartWithEtcd()
	after := a.Await("ready again", func(s control.Status) bool { return s.Ready && len(s.Peers) == 2 })
	heard, err := monitor.Heard()
	must(t, err)
	if fmt.Sprint(heard) != start {
		t.Errorf("before the restart the kernel had announced %s, after it %v", start, heard)
	}
	if after.Passes.Writes != 0 || after.ID != before.ID {
		t.Errorf("writes after the restart: %+v (%s, was %s)", after.Passes, after.ID, before.ID)
	}
}

// Row 9: overlayd killed at random moments costs no packet.
func TestKilledAtRandomMomentsNothingIsLost(t *testing.T) {
	w, _ := etcdWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	p, err := one.Probe(two)
	must(t, err)
	for i := range kills() {
		h := w.Hosts[i%2]
		time.Sleep(rand.N(60 * time.Millisecond))
		h.Kill()
		h.StartWithEtcd()
	}
	for _, h := range w.Hosts {
		h.Ready(1)
	}
	nothingLost(t, p)
}

// nothingLost ends a probe, of which everything must have come back that was not
// dropped in a queue that all namespaces share, because others filled it.
func nothingLost(t *testing.T, p *hosts.Prober) {
	t.Helper()
	lost, sent := p.End()
	elsewhere := p.Elsewhere()
	t.Logf("%d of %d probes lost; %d packets dropped by the machine's own queues", lost, sent, elsewhere)
	if lost > elsewhere || lost*100 > sent || sent < 10 {
		t.Errorf("%d of %d probes lost: numbers %q", lost, sent, p.Missing())
	}
}

// kills is the specification's number in the long run.
func kills() int {
	if long() {
		return 50
	}
	return 8
}

// long tells whether everything is wanted (make test-overlay).
func long() bool { return os.Getenv("OVERLAY_FULL") != "" }

// Rows 10 and 11: what somebody deletes or alters is repaired, and traffic is
// back.
func TestDamageIsRepaired(t *testing.T) {
	w := staticWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	for _, damage := range [][]string{
		{"ip", "link", "del", "netctl-overlay"},
		{"ip", "link", "set", "netctl-overlay", "down"},
		{"ip", "link", "set", "netctl-overlay", "address", "02:00:00:00:00:01"},
		{"ip", "route", "del", "10.100.2.0/24"},
		{"ip", "route", "replace", "10.100.2.0/24", "via", "192.0.2.77"},
		{"ip", "neigh", "flush", "dev", "netctl-overlay", "nud", "permanent"},
		{"bridge", "fdb", "del", "02:56:c0:00:02:02", "dev", "netctl-overlay"},
	} {
		must(t, a.NS.Run(damage[0], damage[1:]...))
		took, err := one.Await(two.Addr)
		if err != nil {
			t.Errorf("after %v: %v", damage, err)
		}
		t.Logf("%v: reachable after %v", damage, took.Round(time.Millisecond))
		if err := errors.Join(two.Reach(one.Addr, hosts.Patience)); err != nil {
			t.Errorf("after %v, the other way: %v", damage, err)
		}
	}
}

// Row 12: who left while overlayd was down, or has another tunnel address since,
// is gone after its start, or there.
func TestWhoLeftMeanwhileIsForgotten(t *testing.T) {
	w, e := etcdWorld(t, 3)
	a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	a.Stop()
	must(t, c.Control().Leave(t.Context()))
	<-c.Ended()
	must(t, b.Move(netip.MustParseAddr("192.0.2.22")))
	// Its connection to etcd was from the old address, and has to be given up first.
	eventually(t, "the store has the new address", func() bool {
		return slices.Equal(e.Keys("vtep/"), []string{"vtep/192.0.2.1", "vtep/192.0.2.22"})
	})
	views := [][]string{{"bridge", "fdb", "show", "dev", "netctl-overlay"}, {"ip", "-6", "neigh", "show", "nud", "permanent"}, {"ip", "route"},
		{"nft", "list", "set", "ip", "netctl-overlay", "members"}}
	stale := []string{"192.0.2.3", "02:56:c0:00:02:03", "fe80::56:c0ff:fe00:203", "192.0.2.2", "02:56:c0:00:02:02", "fe80::56:c0ff:fe00:202"}
	// shown is which of those a host has, in any view.
	shown := func() (all []string) {
		for _, command := range views {
			text, err := a.NS.Output(command[0], command[1:]...)
			must(t, err)
			words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",{}", r) })
			for _, word := range stale {
				if slices.Contains(words, word) {
					all = append(all, strings.Join(command, " ")+": "+word)
				}
			}
		}
		return all
	}
	if all := shown(); len(all) < len(stale) {
		t.Fatalf("the test has nothing to show: %q", all)
	}
	a.StartWithEtcd()
	a.Ready(1)
	if all := shown(); len(all) > 0 {
		t.Errorf("still there: %q", all)
	}
	_, err = one.Await(two.Addr)
	must(t, err)
	must(t, two.Reach(one.Addr, hosts.Patience))
}

// Row 13: with etcd down containers come and go, traffic flows, overlayd starts
// anew, and a host is rebooted. A host that comes new is known when etcd is back.
func TestStoreDown(t *testing.T) {
	w, e := quickWorld(t, 2, 2, "10.100.0.0/20") // who is without a store says so when its session is over
	a, b := w.Hosts[0], w.Hosts[1]
	two := b.Add("blue")
	e.Kill()
	b.Await("degraded", func(s control.Status) bool { return strings.Contains(s.Degraded, "store") })
	if err := b.Status("blue"); err == nil || !strings.Contains(err.Error(), `"code":51`) && !strings.Contains(err.Error(), `"code": 51`) {
		t.Errorf("STATUS says %v, want code 51", err)
	}
	one := a.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	a.Kill()
	a.StartWithEtcd()
	a.Await("at work", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 1 })
	must(t, one.Reach(two.Addr, hosts.Patience))
	a.Reboot()
	a.StartWithEtcd()
	a.Await("at work after a reboot", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 1 })
	again := a.Add("blue")
	if _, err := again.Await(two.Addr); err != nil {
		t.Errorf("after a reboot without store: %v", err)
	}
	must(t, again.Del())
	c := w.AddHost("c", netip.MustParseAddr("192.0.2.3"))
	c.UseEtcd()
	c.StartWithEtcd()
	e.Run()
	awaitUsable(c, "blue", 3)
	three := c.Add("blue")
	_, err = three.Await(two.Addr)
	must(t, err)
}

// Row 19: a copied state directory and a tunnel address that somebody has are
// refused by name.
func TestDoublesAreRefused(t *testing.T) {
	w, _ := etcdWorld(t, 1)
	a := w.Hosts[0]
	b := w.AddHost("b", netip.MustParseAddr("192.0.2.2"))
	b.UseEtcd()
	must(t, exec.Command("cp", "-r", a.DataDir(), b.DataDir()).Run())
	b.StartWithEtcd()
	b.Await("refused as a double", func(s control.Status) bool {
		return strings.Contains(s.Degraded, "node identity") && strings.Contains(s.Degraded, "already taken by a")
	})
	b.Kill()
	must(t, os.RemoveAll(b.DataDir()))
	must(t, b.NS.Run("ip", "addr", "add", "192.0.2.1/32", "dev", "eth0"))
	b.StartWithEtcd("--vtep", "192.0.2.1")
	b.Await("refused for its address", func(s control.Status) bool {
		return strings.Contains(s.Degraded, "tunnel address 192.0.2.1 is already taken by a")
	})
}

// Row 22: the underlay's MTU shrinks while containers run, and a path that
// silently drops large packets is found by probes.
func TestMTU(t *testing.T) {
	w := staticWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	if got := mtuOf(t, one); got != "1450" {
		t.Errorf("the container's MTU is %s, want 1450", got)
	}
	must(t, errors.Join(a.RealFrames(), b.RealFrames()))
	// Silent: the switch drops what is longer than 1404 bytes.
	must(t, w.Switch.Run("nft", "-f", narrow(t)))
	a.Await("aware of the narrow path", func(s control.Status) bool { return s.Peers[0].MTU == 1354 })
	b.Await("aware of the narrow path", func(s control.Status) bool { return s.Peers[0].MTU == 1354 })
	eventually(t, "a route with the smaller MTU", func() bool {
		shown, _ := a.NS.Output("ip", "route", "show", "10.100.2.0/24")
		return strings.Contains(shown, "mtu 1354")
	})
	transfer(t, one, two)
	must(t, w.Switch.Run("nft", "delete", "table", "bridge", "narrow"))
	// Row 26: no frame is larger than the link, none in fragments, and the
	// tunnel still takes and merges super-packets.
	must(t, w.Switch.Run("nft", "add table bridge seen; add chain bridge seen every { type filter hook forward priority 0; };"+
		"add rule bridge seen every ether type ip ip length > 1500 counter; add rule bridge seen every ether type ip ip frag-off & 0x3fff != 0 counter"))
	transfer(t, one, two)
	if shown, _ := w.Switch.Output("nft", "list", "chain", "bridge", "seen", "every"); strings.Count(shown, "packets 0 ") != 2 {
		t.Errorf("larger than the underlay's MTU, or fragments: %s", shown)
	}
	shown, err := a.NS.Output("ethtool", "-k", "netctl-overlay")
	must(t, err)
	for _, want := range []string{"generic-receive-offload: on", "tcp-segmentation-offload: on"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q: %s", want, shown)
		}
	}
	// The link itself.
	must(t, a.NS.Run("ip", "link", "set", "eth0", "mtu", "1400"))
	a.Await("lowered", func(s control.Status) bool { return s.MTU == 1350 })
	eventually(t, "the running container's MTU is 1350", func() bool { return mtuOf(t, one) == "1350" })
	transfer(t, one, two)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hosts.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("never: %s", what)
			return
		}
	}
}

func narrow(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "rules")
	must(t, os.WriteFile(path, []byte(`table bridge narrow {
	chain forward { type filter hook forward priority 0; ether type ip ip length > 1404 drop; }
}`), 0o600))
	return path
}

func mtuOf(t *testing.T, c *hosts.Container) string {
	t.Helper()
	shown, err := c.NS.Output("ip", "-o", "link", "show", "eth0")
	must(t, err)
	_, rest, _ := strings.Cut(shown, " mtu ")
	mtu, _, _ := strings.Cut(rest, " ")
	return mtu
}

// transfer sends half a megabyte there and back.
func transfer(t *testing.T, from, to *hosts.Container) {
	t.Helper()
	conn, err := from.Dial(to.Addr, hosts.Patience)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(hosts.Patience)))
	data := make([]byte, 512<<10)
	go func() { _, _ = conn.Write(make([]byte, len(data))) }()
	for got := 0; got < len(data); {
		n, err := conn.Read(data)
		if err != nil {
			t.Errorf("after %d of %d bytes: %v", got, len(data), err)
			return
		}
		got += n
	}
}

// Row 23: what nobody owns is refused at once, and does not get onto the wire.
func TestUnassignedRangesAreRefused(t *testing.T) {
	w := staticWorld(t, 2)
	one := w.Hosts[0].Add("blue")
	must(t, w.Switch.Run("nft", "add table bridge seen; add chain bridge seen every { type filter hook prerouting priority 0; }; add rule bridge seen every ip daddr 10.100.77.0/24 counter"))
	_, err := one.Dial(netip.MustParseAddr("10.100.77.7"), hosts.Patience)
	if !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("dialling nobody: %v, want an unreachable error", err)
	}
	if shown, _ := w.Switch.Output("nft", "list", "chain", "bridge", "seen", "every"); !strings.Contains(shown, "packets 0") {
		t.Errorf("on the wire: %s", shown)
	}
}

// Row 27: from file to etcd, host by host, without a lost packet.
func TestMigrationLosesNothing(t *testing.T) {
	w := staticWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	w.StartEtcd()
	p, err := one.Probe(two)
	must(t, err)
	did, err := a.Control().Migrate(t.Context(), a.Settings())
	must(t, err)
	if len(did) != 3 {
		t.Errorf("it did %q, want a network and two pools", did)
	}
	for _, h := range w.Hosts {
		h.Stop()
		h.StartWithEtcd()
		s := h.Ready(1)
		if s.Store != "etcd" || s.Degraded != "" {
			t.Errorf("%s: %+v", h.Name, s)
		}
		h.Await("member", func(s control.Status) bool { return s.Degraded == "" && s.Peers[0].Alive != nil })
	}
	if n := awaitUsable(a, "blue", 2); fmt.Sprint(n.Pools) != "[10.100.1.0/24]" {
		t.Errorf("renumbered: %+v", n)
	}
	nothingLost(t, p)
}

// Each host learns how far the others are.
func TestPeersAreHeard(t *testing.T) {
	w, _ := etcdWorld(t, 2)
	w.Hosts[0].Await("hearing its peer", func(s control.Status) bool {
		return len(s.Peers) == 1 && !s.Peers[0].Heard.IsZero() && s.Peers[0].MTU == 1450
	})
}

// TestAnOldSnapshotKeepsNobodyOut: a host that starts without the store, from a
// snapshot that does not know of a peer yet, leaves the way to it open.
func TestAnOldSnapshotKeepsNobodyOut(t *testing.T) {
	w, e := etcdWorld(t, 1)
	b := w.Hosts[0]
	snapshot := filepath.Join(b.DataDir(), "overlay", "view.json")
	var old []byte
	eventually(t, "a snapshot with the network and its pool", func() bool {
		old, _ = os.ReadFile(snapshot)
		return strings.Contains(string(old), "blue") && strings.Contains(string(old), `"pools"`)
	})
	a := w.AddHost("new", netip.MustParseAddr("192.0.2.77"))
	a.UseEtcd()
	a.StartWithEtcd()
	for _, h := range w.Hosts {
		awaitUsable(h, "blue", 2)
	}
	one, two := a.Add("blue"), b.Add("blue")
	_, err := two.Await(one.Addr)
	must(t, err)
	e.Kill()
	b.Kill()
	must(t, os.WriteFile(snapshot, old, 0o600))
	b.StartWithEtcd()
	b.Await("at work without the peer", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 0 })
	must(t, two.Reach(one.Addr, hosts.Patience))
	e.Run()
	b.Await("aware of the peer again", func(s control.Status) bool { return len(s.Peers) == 1 && s.Degraded == "" })
	must(t, two.Reach(one.Addr, hosts.Patience))
}
