package overlay

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/control"
	"github.com/netctl/netctl/test/hosts"
)

// TestAnswersThatAreLost: a host whose claim was entered, and to which the
// connection died before the answer, has that pool and no second one. One that is
// killed between its entry and the answer goes on at once when it is started again.
func TestAnswersThatAreLost(t *testing.T) {
	w := hosts.New(t, binaries, 2)
	e := w.StartEtcd()
	a, b := w.Hosts[0], w.Hosts[1]
	proxy := e.Proxy(a)
	for _, h := range w.Hosts {
		h.StartWithEtcd()
	}
	for _, h := range w.Hosts {
		h.Ready(1)
	}
	lost := make(chan struct{})
	proxy.Lose(puts("pool/blue/"), func() { close(lost) })
	must(t, b.TryCreateNetwork("blue", 24, "10.100.0.0/16"))
	<-lost
	for _, h := range w.Hosts {
		awaitUsable(h, "blue", 2)
	}
	poolsAre(t, e, a, b)
	_, err := a.Add("blue").Await(b.Add("blue").Addr)
	must(t, err)

	c := w.AddHost("c", netip.MustParseAddr("192.0.2.3"))
	proxy, lost = e.Proxy(c), make(chan struct{})
	proxy.Lose(puts("pool/blue/"), func() { c.Kill(); close(lost) })
	c.StartWithEtcd()
	<-lost
	c.StartWithEtcd()
	awaitUsable(c, "blue", 3)
	if said := c.Log(); strings.Contains(said, "already taken") {
		t.Errorf("it has to wait for its own session to end:\n%s", said)
	}
	poolsAre(t, e, a, b, c)
}

// puts tells whether a transaction writes a key of the cluster below a folder.
func puts(folder string) func(*etcdserverpb.TxnRequest) bool {
	return func(r *etcdserverpb.TxnRequest) bool { return etcdtest.Puts(r, etcd.DefaultPrefix+"/"+folder) }
}

// poolsAre checks that each of the hosts has one pool in the store, the one that it
// says.
func poolsAre(t *testing.T, e *hosts.Etcd, owners ...*hosts.Host) {
	t.Helper()
	claimed := 0
	for key := range e.Values() {
		if strings.HasPrefix(key, "pool/") {
			claimed++
		}
	}
	if claimed != len(owners) {
		t.Errorf("%d pools are claimed for %d hosts: %v", claimed, len(owners), e.Keys("pool/"))
	}
	for _, h := range owners {
		s := h.Ready(len(owners) - 1)
		own := s.Networks[0].Pools
		i := slices.IndexFunc(s.Networks[0].Owners, func(o control.Owner) bool { return o.Node == h.Name })
		if len(own) != 1 || i < 0 || len(s.Networks[0].Owners[i].Pools) != 1 || s.Networks[0].Owners[i].Pools[0] != own[0] {
			t.Errorf("%s has %+v, and its record says %+v", h.Name, own, s.Networks[0].Owners)
		}
	}
}
