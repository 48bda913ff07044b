package overlay

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// etcdWorld is n hosts with an etcd, network blue made on the first, and
// everybody ready.
func etcdWorld(t *testing.T, n int) (*hosts.World, *hosts.Etcd) {
	t.Helper()
	w := hosts.New(t, binaries, n)
	return w, startWithEtcd(t, w)
}

// startWithEtcd starts all hosts of a world, with network blue.
func startWithEtcd(t *testing.T, w *hosts.World) *hosts.Etcd {
	t.Helper()
	n := len(w.Hosts)
	e := w.StartEtcd()
	for _, h := range w.Hosts {
		h.StartWithEtcd()
	}
	for _, h := range w.Hosts {
		h.Ready(n - 1)
	}
	w.Hosts[0].CreateNetwork("blue", "10.100.0.0/20")
	for _, h := range w.Hosts {
		awaitUsable(h, "blue", n)
	}
	return e
}

// awaitUsable waits until a host has a pool and the way to all others'.
func awaitUsable(h *hosts.Host, network string, owners int) control.Network {
	var found control.Network
	h.Await("usable in network "+network, func(s control.Status) bool {
		for _, n := range s.Networks {
			if n.Name == network && len(n.Pools) > 0 && len(n.Owners) >= owners {
				found = n
				_, err := os.Stat(filepath.Join(h.ConfDir(), network+".conflist"))
				return err == nil
			}
		}
		return false
	})
	return found
}

// TestANetworkMadeOnOneHostIsUsableOnAll, by every pair of three.
func TestANetworkMadeOnOneHostIsUsableOnAll(t *testing.T) {
	w, _ := etcdWorld(t, 3)
	wide := control.CreateNetwork{Name: "wide", Ranges: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/23")}}
	if err := w.Hosts[0].Control().Create(t.Context(), wide); err == nil || !strings.Contains(err.Error(), "has the tunnel address") {
		t.Errorf("a network around the hosts' own addresses: %v", err)
	}
	var all []*hosts.Container
	for _, h := range w.Hosts {
		all = append(all, h.Add("blue", "on-"+h.Name))
	}
	seen := map[netip.Prefix]bool{}
	for _, c := range all {
		pool := netip.PrefixFrom(c.Addr, 24).Masked()
		if seen[pool] {
			t.Errorf("two hosts give out addresses of %s", pool)
		}
		seen[pool] = true
		for _, other := range all {
			if c == other {
				continue
			}
			if _, err := c.Await(other.Addr); err != nil {
				t.Error(err)
			}
		}
	}
	// In use: not removed, by the name of the host where it is.
	for _, c := range all[1:] {
		must(t, c.Del())
	}
	err := w.Hosts[1].Control().Remove(t.Context(), "blue")
	if err == nil || !strings.Contains(err.Error(), "network blue is in use: pools of it belong to a") {
		t.Errorf("removed under a container's feet, or no good reason: %v", err)
	}
	must(t, all[0].Del())
	must(t, w.Hosts[1].Control().Remove(t.Context(), "blue"))
	for _, h := range w.Hosts {
		h.Await("without networks", func(s control.Status) bool {
			_, err := os.Stat(filepath.Join(h.ConfDir(), "blue.conflist"))
			return len(s.Networks) == 0 && os.IsNotExist(err)
		})
		for _, command := range [][]string{{"ip", "link", "show", "netctl-overlay"}, {"nft", "list", "table", "ip", "netctl-overlay"}, {"nft", "list", "table", "ip6", "netctl-overlay"}} {
			deadline := time.Now().Add(hosts.Patience)
			for h.NS.Run(command[0], command[1:]...) == nil {
				if time.Now().After(deadline) {
					t.Fatalf("on %s %v still shows something", h.Name, command)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		if left, _ := h.NS.Output("ip", "-o", "link", "show", "type", "bridge"); left != "" {
			t.Errorf("a bridge is left on %s: %s", h.Name, left)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestABurstGetsFurtherPools starts more containers at once than a pool of six
// addresses holds: each ADD that finds none waits for the next pool.
func TestABurstGetsFurtherPools(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	w.StartEtcd()
	for _, h := range w.Hosts {
		h.StartWithEtcd()
	}
	for _, h := range w.Hosts {
		h.Ready(1)
	}
	a := w.Hosts[0]
	must(t, a.TryCreateNetwork("small", 29, "10.102.0.0/27")) // four pools of five
	awaitUsable(w.Hosts[1], "small", 2)
	far := w.Hosts[1].Add("small")
	const burst = 12
	all, errs := make([]*hosts.Container, burst), make([]error, burst)
	var wait sync.WaitGroup
	for i := range burst {
		wait.Go(func() { all[i], errs[i] = a.TryAdd("small") })
	}
	wait.Wait()
	must(t, errors.Join(errs...))
	var near *hosts.Container // in another pool than the first
	for _, c := range all {
		if netip.PrefixFrom(c.Addr, 29).Masked() != netip.PrefixFrom(all[0].Addr, 29).Masked() {
			near = c
		}
	}
	for _, c := range []*hosts.Container{all[0], near} {
		if _, err := c.Await(far.Addr); err != nil {
			t.Error(err)
		}
	}
	if err := all[0].Reach(near.Addr, hosts.Patience); err != nil {
		t.Errorf("between two pools of one host: %v", err)
	}
	// The range has four pools. When they are gone, it is explained.
	var err error
	for more := 0; err == nil && more < 5; more++ {
		_, err = a.TryAdd("small")
	}
	if err == nil || !strings.Contains(err.Error(), "network small is exhausted: all 4 pools of [10.102.0.0/27] are owned by 2 nodes") {
		t.Errorf("the last ADD: %v; want the reason", err)
	}
	must(t, a.Control().Extend(t.Context(), "small", netip.MustParsePrefix("10.102.1.0/27")))
	a.Await("extended", func(s control.Status) bool { return s.Networks[0].Total == 8 && len(s.Networks[0].Pools) == 4 })
	a.Add("small")
	// Nobody is there to claim one.
	b := w.Hosts[1]
	b.Stop()
	for err = nil; err == nil; {
		_, err = b.TryAdd("small")
	}
	if !strings.Contains(err.Error(), "no free address") || !strings.Contains(err.Error(), "overlayd is not running") {
		t.Errorf("without overlayd: %v", err)
	}
}

// TestLeaving gives everything back; the others forget the host.
func TestLeaving(t *testing.T) {
	w, _ := etcdWorld(t, 2)
	a, b := w.Hosts[0], w.Hosts[1]
	c := b.Add("blue")
	err := b.Control().Leave(context.Background())
	if err == nil || !strings.Contains(err.Error(), "containers of this host are in network blue") {
		t.Errorf("left with containers: %v", err)
	}
	must(t, c.Del())
	must(t, b.Control().Leave(context.Background()))
	<-b.Ended()
	a.Await("alone", func(s control.Status) bool { return len(s.Peers) == 0 && len(s.Networks[0].Owners) == 1 })
	if routes, _ := a.NS.Output("ip", "route", "show", "proto", "86"); strings.Contains(routes, "via") {
		t.Errorf("a route to who left: %s", routes)
	}
	if shown, _ := b.NS.Output("ip", "route", "show", "proto", "86"); shown != "" {
		t.Errorf("left behind: %s", shown)
	}
	b.StartWithEtcd()
	a.Await("two again", func(s control.Status) bool { return len(s.Peers) == 1 })
}
