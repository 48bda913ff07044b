//go:build long

package overlay

import (
	"slices"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// TestClusterOfThree: etcd as it is run where it matters, three members with
// TLS and a user with a password. The leader dies, then the quorum, then all
// come back with new tokens: containers lose nothing, hosts keep their pools.
func TestClusterOfThree(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	c := w.StartCluster()
	for _, h := range w.Hosts {
		h.StartWithEtcd()
	}
	a, b := w.Hosts[0], w.Hosts[1]
	a.Ready(1)
	b.Ready(1)
	a.CreateNetwork("blue", "10.100.0.0/20")
	pools := map[*hosts.Host]control.Network{}
	for _, h := range w.Hosts {
		pools[h] = awaitUsable(h, "blue", 2)
	}
	one, two := a.Add("blue"), b.Add("blue")
	_, err := one.Await(two.Addr)
	must(t, err)
	p, err := one.Probe(two)
	must(t, err)

	first := c.Leader(t)
	c.Kill(first)
	second := c.Leader(t)
	if first == second {
		t.Fatal("a dead member leads")
	}
	t.Logf("member %d led, then %d", first, second)
	createEventually(t, a, "green", "10.101.0.0/20")
	awaitUsable(b, "green", 2)

	c.Kill(second)
	for _, h := range w.Hosts {
		h.Await("degraded", func(s control.Status) bool { return s.Degraded != "" })
	}
	must(t, a.Add("blue").Reach(two.Addr, hosts.Patience))
	for _, i := range []int{first, second} {
		c.Run(t, i)
	}
	for _, h := range w.Hosts {
		h.Await("a member again", func(s control.Status) bool {
			return s.Degraded == "" && len(s.Peers) == 1 && s.Peers[0].Alive != nil && *s.Peers[0].Alive
		})
		if now := awaitUsable(h, "blue", 2); !slices.Equal(now.Pools, pools[h].Pools) || len(now.Lost) > 0 {
			t.Errorf("pools of %s were %v, are %v, lost %v", h.Name, pools[h].Pools, now.Pools, now.Lost)
		}
	}
	createEventually(t, b, "red", "10.102.0.0/20")
	awaitUsable(a, "red", 2)
	nothingLost(t, p)
}

// createEventually makes a network while the cluster may be choosing a leader.
func createEventually(t *testing.T, h *hosts.Host, name, subnet string) {
	t.Helper()
	eventually(t, "network "+name+" is made", func() bool {
		err := h.TryCreateNetwork(name, 0, subnet)
		if err != nil {
			t.Logf("network %s: %v", name, err)
		}
		return err == nil
	})
}
