package overlay

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// quickWorld is etcdWorld with sessions that expire after three seconds, on
// hosts of which only the first so many are started.
func quickWorld(t *testing.T, n, started int, subnet string) (*hosts.World, *hosts.Etcd) {
	t.Helper()
	w := hosts.New(t, binaries, n)
	e := w.StartEtcd()
	startQuick(t, w, started, subnet)
	return w, e
}

func startQuick(t *testing.T, w *hosts.World, started int, subnet string) {
	t.Helper()
	for _, h := range w.Hosts {
		h.UseEtcdWith(map[string]any{"sessionSeconds": 3})
	}
	for _, h := range w.Hosts[:started] {
		h.StartWithEtcd()
	}
	for _, h := range w.Hosts[:started] {
		h.Ready(started - 1)
	}
	must(t, w.Hosts[0].TryCreateNetwork("blue", 24, subnet))
	for _, h := range w.Hosts[:started] {
		awaitUsable(h, "blue", started)
	}
}

// poolOf is the pool that a container's address is of.
func poolOf(c *hosts.Container) netip.Prefix { return netip.PrefixFrom(c.Addr, 24).Masked() }

// routes are those of overlayd on a host, by line.
func routes(t *testing.T, h *hosts.Host) []string {
	t.Helper()
	shown, err := h.NS.Output("ip", "route", "show", "proto", "86")
	must(t, err)
	var all []string
	for line := range strings.Lines(shown) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// leadsTo tells whether a host has a route through the tunnel to a pool.
func leadsTo(t *testing.T, h *hosts.Host, pool netip.Prefix) bool {
	t.Helper()
	return slices.ContainsFunc(routes(t, h), func(line string) bool { return strings.HasPrefix(line, pool.String()+" via ") })
}

// dead waits until a host's session has expired.
func dead(by *hosts.Host, name string) {
	by.Await(name+" not alive", func(s control.Status) bool {
		return slices.ContainsFunc(s.Peers, func(p control.Peer) bool { return p.Name == name && p.Alive != nil && !*p.Alive })
	})
}

// alive waits until it has one.
func alive(by *hosts.Host, name string) {
	by.Await(name+" alive", func(s control.Status) bool {
		return slices.ContainsFunc(s.Peers, func(p control.Peer) bool { return p.Name == name && p.Alive != nil && *p.Alive })
	})
}

// Row 15: a host is cut off from etcd, which meanwhile forgets how everything
// came to be. What the host missed it knows soon after the cut; during it, its
// loop was at work.
func TestCompactionDuringAPartition(t *testing.T) {
	w, e := etcdWorld(t, 3)
	a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
	one, two, three := a.Add("blue"), b.Add("blue"), c.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	e.Break(a, hosts.Refused)
	a.Await("cut off", func(s control.Status) bool { return len(s.Peers) == 2 && s.Peers[0].Alive == nil })
	gone := poolOf(three)
	must(t, three.Del())
	must(t, c.Control().Leave(t.Context()))
	<-c.Ended()
	d := w.AddHost("d", netip.MustParseAddr("192.0.2.4"))
	d.UseEtcd()
	d.StartWithEtcd()
	awaitUsable(d, "blue", 3)
	four := d.Add("blue")
	e.Compact()
	must(t, a.NS.Run("ip", "route", "del", poolOf(two).String()))
	eventually(t, "a damaged route is repaired during the partition", func() bool { return leadsTo(t, a, poolOf(two)) })
	if !leadsTo(t, a, gone) || leadsTo(t, a, poolOf(four)) && poolOf(four) != gone {
		t.Fatalf("cut off, the host knows what it can't know: %q", routes(t, a))
	}
	healed := time.Now()
	e.Heal(a)
	took, err := one.Await(four.Addr)
	must(t, err)
	t.Logf("row 15: the new peer reached %v after the partition's end", took.Round(time.Millisecond))
	eventually(t, "no route to who left", func() bool { return poolOf(four) == gone || !leadsTo(t, a, gone) })
	t.Logf("row 15: who left forgotten %v after", time.Since(healed).Round(time.Millisecond))
}

// Row 20: overlayd stops for longer than its session lives. Nobody withdraws
// anything, no packet is lost, and on resume the host has what it had.
func TestAPauseLongerThanTheSession(t *testing.T) {
	w, _ := quickWorld(t, 2, 2, "10.100.0.0/20")
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	p, err := one.Probe(two)
	must(t, err)
	before, pools := [2][]string{routes(t, a), routes(t, b)}, awaitUsable(a, "blue", 2).Pools
	a.Signal(syscall.SIGSTOP)
	dead(b, "a")
	time.Sleep(3 * time.Second) // as long again
	if now := routes(t, b); !slices.Equal(now, before[1]) {
		t.Errorf("the peer's routes were %q, are %q", before[1], now)
	}
	a.Signal(syscall.SIGCONT)
	alive(b, "a")
	a.Await("at ease", func(s control.Status) bool { return s.Degraded == "" })
	if n := awaitUsable(a, "blue", 2); !slices.Equal(n.Pools, pools) || len(n.Lost) > 0 {
		t.Errorf("pools were %v, are %v, lost %v", pools, n.Pools, n.Lost)
	}
	if now := routes(t, a); !slices.Equal(now, before[0]) {
		t.Errorf("its own routes were %q, are %q", before[0], now)
	}
	nothingLost(t, p)
}

// Row 21: etcd is put back to a backup that knows neither a network nor two of
// the hosts, one of which is down. Nothing that anybody has goes, who is up
// enters what it has again, and somebody confirms the rest.
func TestStoreRestoredFromABackup(t *testing.T) {
	w, e := quickWorld(t, 4, 2, "10.100.0.0/20")
	a, b, c, d := w.Hosts[0], w.Hosts[1], w.Hosts[2], w.Hosts[3]
	backup := e.Backup()
	c.StartWithEtcd()
	d.StartWithEtcd()
	awaitUsable(d, "blue", 4)
	a.CreateNetwork("green", "10.101.0.0/20")
	for _, h := range w.Hosts {
		awaitUsable(h, "green", 4)
	}
	one, three, four := a.Add("blue"), c.Add("blue"), d.Add("blue")
	green, greener := a.Add("green"), c.Add("green")
	var probes []*hosts.Prober
	for _, way := range [][2]*hosts.Container{{one, three}, {one, four}, {green, greener}} {
		_, err := way[0].Await(way[1].Addr)
		must(t, err)
		p, err := way[0].Probe(way[1])
		must(t, err)
		probes = append(probes, p)
	}
	d.Kill()
	up := []*hosts.Host{a, b, c}
	before := map[*hosts.Host][]string{}
	pools := map[string][]netip.Prefix{}
	for _, h := range up {
		before[h] = routes(t, h)
		for _, n := range []string{"blue", "green"} {
			pools[h.Name+n] = awaitUsable(h, n, 4).Pools
		}
	}

	e.Restore(backup)
	remembers(t, a, "blue", "green")
	for _, h := range up {
		h.Await("in safe mode", func(s control.Status) bool { return s.Safe && strings.Contains(s.Degraded, "netctl overlay confirm") })
	}
	inStore(t, e, "node", 3)
	inStore(t, e, "pool/blue", 3)
	inStore(t, e, "pool/green", 3)
	a.Kill() // safe mode outlives it
	a.StartWithEtcd()
	a.Await("still in safe mode", func(s control.Status) bool { return s.Ready && s.Safe })
	for _, h := range up {
		if now := routes(t, h); !slices.Equal(now, before[h]) {
			t.Errorf("routes of %s were %q, are %q", h.Name, before[h], now)
		}
		for _, n := range []string{"blue", "green"} {
			if now := awaitUsable(h, n, 4); !slices.Equal(now.Pools, pools[h.Name+n]) || len(now.Lost) > 0 {
				t.Errorf("pools of %s in %s were %v, are %v, lost %v", h.Name, n, pools[h.Name+n], now.Pools, now.Lost)
			}
		}
	}
	must(t, a.Add("blue").Reach(four.Addr, hosts.Patience))
	for _, p := range probes {
		nothingLost(t, p)
	}

	// Confirmed on one host: what the store does not know of goes there, and
	// there only.
	must(t, a.Control().Confirm(t.Context()))
	eventually(t, "a confirmed host forgets whom the store does not know", func() bool { return !leadsTo(t, a, poolOf(four)) })
	a.Await("at ease", func(s control.Status) bool { return !s.Safe && s.Degraded == "" && len(s.Peers) == 2 })
	if !leadsTo(t, b, poolOf(four)) || !leadsTo(t, a, poolOf(three)) {
		t.Errorf("confirmed on a alone: a has %q, b %q", routes(t, a), routes(t, b))
	}
	must(t, one.Reach(three.Addr, hosts.Patience))
	// The host that was down knows better than the store, and comes back.
	d.StartWithEtcd()
	_, err := one.Await(four.Addr)
	must(t, err)
}

// remembers waits until what a host would start from has all of these: it is
// written a moment later.
func remembers(t *testing.T, h *hosts.Host, texts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("host %s remembers %q", h.Name, texts), func() bool {
		view, err := os.ReadFile(filepath.Join(h.DataDir(), "overlay", "view.json"))
		return err == nil && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(view), text) })
	})
}

// inStore waits until so many keys are below a folder of the cluster.
func inStore(t *testing.T, e *hosts.Etcd, folder string, want int) {
	t.Helper()
	var keys []string
	eventually(t, fmt.Sprintf("%d keys below %s", want, folder), func() bool {
		keys = e.Keys(folder + "/")
		return len(keys) == want
	})
}

// Row 21, the rest: etcd is lost and begins anew with nothing; and somebody
// else's is at its address.
func TestStoreLostAndStoreOfAnotherCluster(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	e := w.StartEtcd()
	e.Populate("blue", netip.MustParsePrefix("10.100.0.0/20"), 3)
	foreign := e.Backup()
	e.Restore("")
	startQuick(t, w, 2, "10.100.0.0/20")
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	p, err := one.Probe(two)
	must(t, err)
	cluster := a.Await("a member", func(s control.Status) bool { return s.Cluster != "" }).Cluster
	before := routes(t, a)

	e.Restore("")
	for _, h := range w.Hosts {
		h.Await("in safe mode", func(s control.Status) bool { return s.Safe })
	}
	inStore(t, e, "node", 2)
	inStore(t, e, "pool/blue", 2)
	for _, h := range w.Hosts {
		must(t, h.Control().Confirm(t.Context()))
		h.Await("at ease", func(s control.Status) bool { return !s.Safe && s.Degraded == "" && s.Cluster == cluster })
	}
	if now := routes(t, a); !slices.Equal(now, before) {
		t.Errorf("routes were %q, are %q", before, now)
	}

	own := e.Backup()
	e.Restore(foreign)
	theirs := e.Values()
	for _, h := range w.Hosts {
		h.Await("refused", func(s control.Status) bool { return strings.Contains(s.Degraded, "and this node to "+cluster) })
	}
	a.Kill()
	a.StartWithEtcd()
	a.Await("refused again", func(s control.Status) bool { return strings.Contains(s.Degraded, "and this node to "+cluster) })
	if now := routes(t, a); !slices.Equal(now, before) {
		t.Errorf("with another cluster's store the routes were %q, are %q", before, now)
	}
	if now := e.Values(); !maps.Equal(now, theirs) {
		t.Errorf("written into another cluster's store: had %q, has %q", theirs, now)
	}
	e.Restore(own)
	a.Await("a member again", func(s control.Status) bool { return s.Degraded == "" || s.Safe })
	nothingLost(t, p)
}

// Row 30: garbage and values of a newer program under every prefix, also where
// something was that could be read.
func TestGarbageInTheStore(t *testing.T) {
	w, e := etcdWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	one, two := a.Add("blue", "here"), b.Add("blue", "there")
	_, err := one.Await(two.Addr)
	must(t, err)
	awaitName(t, one, "there", two.Addr.String())
	p, err := one.Probe(two)
	must(t, err)
	id := b.Await("a member", func(s control.Status) bool { return s.Degraded == "" }).ID
	before := routes(t, a)
	const garbage, future = "\x00\xff{", `{"schema":99,"id":"future","name":"future"}`
	values := map[string]string{
		"config": future, "net/blue": garbage, "net/future": future, "netid/77": garbage, "pool/blue/zz": garbage, "pool/blue/0a650000-24": garbage,
		"node/" + id: future, "node/garbage": garbage, "vtep/192.0.2.77": garbage, "live/garbage": garbage, "tomb/garbage": garbage,
		"dns/blue/garbage/c": garbage, "dns/blue/" + id + "/" + two.ID: future, "elsewhere": garbage,
	}
	remembers(t, a, `"name":"blue"`, poolOf(two).String(), id)
	read := e.Values()
	for key, value := range values {
		e.Put(key, value)
	}
	for _, h := range w.Hosts {
		h.Await("aware of what can't be read", func(s control.Status) bool {
			told := strings.Join(s.Problems, "\n")
			for _, key := range []string{"/config", "/net/blue", "/net/future", "/node/" + id, "/node/garbage"} {
				if !strings.Contains(told, key+" left out: ") {
					return false
				}
			}
			return true
		})
	}
	findings, err := a.Control().Doctor(t.Context())
	must(t, err)
	for key := range values {
		if !slices.ContainsFunc(findings, func(f control.Finding) bool { return !f.OK && strings.Contains(f.Why, "/"+key+" left out: ") }) {
			t.Errorf("doctor does not tell of %s", key)
		}
	}
	awaitName(t, one, "there", two.Addr.String())
	a.Kill()
	a.StartWithEtcd()
	a.Await("at work", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 1 && len(s.Problems) > 4 })
	if now := routes(t, a); !slices.Equal(now, before) {
		t.Errorf("routes were %q, are %q", before, now)
	}
	must(t, a.Add("blue").Reach(two.Addr, hosts.Patience))
	nothingLost(t, p)
	for key, value := range values {
		if now := e.Values()[key]; now != value {
			t.Errorf("%s was written over: %q", key, now)
		}
		switch old, was := read[key]; {
		case was && key != "node/"+id:
			e.Put(key, old)
		default:
			e.Delete(key) // the node enters its record again
		}
	}
	for _, h := range w.Hosts {
		h.Await("at ease", func(s control.Status) bool { return s.Ready && s.Degraded == "" && len(s.Problems) == 0 })
	}
	awaitName(t, one, "there", two.Addr.String())
	c := w.AddHost("c", netip.MustParseAddr("192.0.2.3"))
	c.UseEtcd()
	c.StartWithEtcd()
	awaitUsable(c, "blue", 3)
	_, err = c.Add("blue").Await(one.Addr)
	must(t, err)
}
