//go:build long

package overlay

import (
	"net/netip"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// Row 14: what a host and etcd say to each other is dropped, and neither is
// told. A host that joins meanwhile is reached soon after that is over, though
// the kernel itself would believe in the old connection for two hours.
//
// It takes a while: the agent's own probes of a silent connection are ten
// seconds apart.
func TestHalfOpenConnections(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T, e *hosts.Etcd, a *hosts.Host, meanwhile func()) (healed time.Time){
		// New connections get through, the old one never again.
		"a middle box forgets": func(_ *testing.T, e *hosts.Etcd, a *hosts.Host, meanwhile func()) time.Time {
			e.Forget(a)
			healed := time.Now()
			meanwhile()
			return healed
		},
		// Shorter than it takes to notice: the old connection goes on.
		"a short silence": func(_ *testing.T, e *hosts.Etcd, a *hosts.Host, meanwhile func()) time.Time {
			e.Break(a, hosts.Silent)
			meanwhile()
			e.Heal(a)
			return time.Now()
		},
		// Longer.
		"a long silence": func(_ *testing.T, e *hosts.Etcd, a *hosts.Host, meanwhile func()) time.Time {
			e.Break(a, hosts.Silent)
			meanwhile()
			a.Await("aware of the silence", func(s control.Status) bool { return s.Peers[0].Alive == nil })
			time.Sleep(20 * time.Second) // until attempts to connect are as far apart as they get
			e.Heal(a)
			return time.Now()
		},
		// The server knows nothing of the connection any more.
		"the server starts anew behind a silence": func(_ *testing.T, e *hosts.Etcd, a *hosts.Host, meanwhile func()) time.Time {
			e.Break(a, hosts.Silent)
			e.Kill()
			e.Run()
			meanwhile()
			e.Heal(a)
			return time.Now()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, e := etcdWorld(t, 2)
			a, b := w.Hosts[0], w.Hosts[1]
			one, two := a.Add("blue"), b.Add("blue")
			_, err := one.Await(two.Addr)
			must(t, err)
			p, err := one.Probe(two)
			must(t, err)
			c := w.AddHost("c", netip.MustParseAddr("192.0.2.3"))
			c.UseEtcd()
			var three *hosts.Container
			healed := fault(t, e, a, func() {
				c.StartWithEtcd()
				awaitUsable(c, "blue", 3)
				three = c.Add("blue")
			})
			_, err = one.Await(three.Addr)
			must(t, err)
			t.Logf("row 14: after %q the new peer reached within %v", name, time.Since(healed).Round(time.Millisecond))
			a.Await("at ease", func(s control.Status) bool { return s.Degraded == "" && len(s.Peers) == 2 })
			nothingLost(t, p)
		})
	}
}
