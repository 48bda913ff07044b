package overlay

import (
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// namedWorlds are hosts with each kind of store that has names.
var namedWorlds = map[string]func(t *testing.T, n int) (*hosts.World, *hosts.Etcd){
	"etcd":   etcdWorld,
	"static": func(t *testing.T, n int) (*hosts.World, *hosts.Etcd) { return staticWorld(t, n), nil },
}

// Row 28: a container's name is known on another host, and gone after it. While
// the store is down it stays known, also over a restart of overlayd.
func TestNamesAcrossHosts(t *testing.T) {
	for name, world := range namedWorlds {
		t.Run(name, func(t *testing.T) {
			w, e := world(t, 2)
			one := w.Hosts[0].Add("blue", "here")
			two := w.Hosts[1].Add("blue", "there")
			awaitName(t, one, "there", two.Addr.String())
			awaitName(t, two, "here", one.Addr.String())
			if e != nil {
				staleNames(t, w.Hosts[0], e, one, two)
			}
			must(t, two.Del())
			awaitName(t, one, "there", "")
		})
	}
}

// staleNames has the store go away and overlayd start again meanwhile.
func staleNames(t *testing.T, h *hosts.Host, e *hosts.Etcd, one, two *hosts.Container) {
	t.Helper()
	remembers(t, h, `"name":"blue"`, poolOf(two).String())
	e.Kill()
	awaitName(t, one, "there", two.Addr.String())
	h.Kill()
	awaitName(t, one, "there", two.Addr.String())
	h.StartWithEtcd()
	h.Await("at work", func(s control.Status) bool { return s.Passes.Count > 0 && len(s.Peers) == 1 })
	for range 20 { // now, and not only until somebody looks
		if got, err := one.Lookup(t.Context(), "there"); got != two.Addr.String() {
			t.Errorf("without store, after a restart: %q, %v", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	e.Run()
	h.Await("at ease", func(s control.Status) bool { return s.Ready && s.Degraded == "" })
}

// awaitName asks the container's resolver until it answers so.
func awaitName(t *testing.T, c *hosts.Container, name, want string) {
	t.Helper()
	took, err := c.AwaitName(t.Context(), name, want, hosts.Patience)
	if err != nil {
		t.Error(err)
		return
	}
	t.Logf("%s is %q after %v", name, want, took.Round(time.Millisecond))
}
