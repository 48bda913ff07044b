package etcd_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// TestAHostInManyNetworks: a transaction of etcd has 128 comparisons at most. A host
// comes in all the same where there are more networks than fit into one, claims the
// rest, and can change its record and leave.
func TestAHostInManyNetworks(t *testing.T) {
	t.Parallel()
	const networks = 70
	s := open(t, etcdtest.Start(t).Path(t), 0)
	for i := range networks {
		n := store.Network{Name: fmt.Sprintf("net-%d", i), Ranges: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, byte(2 * i), 0}), 23)}}
		if _, err := s.CreateNetwork(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	node := storetest.Nodes(1)[0]
	session, err := s.Session(t.Context(), store.Registration{Node: node, Boot: "b", Needs: func(all []store.Network, _ []store.Claim) (needs []store.ClaimRequest) {
		for _, n := range all {
			needs = append(needs, store.ClaimRequest{Network: n.Name, Is4: true})
		}
		return needs
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close(context.Background(), false) })
	owned := session.Entry().Owned
	if len(owned) < networks/3 || len(owned) == networks {
		t.Errorf("it came in with %d claims for %d networks", len(owned), networks)
	}
	record := session.Self()
	for i := range networks {
		name := fmt.Sprintf("net-%d", i)
		if len(record.Pools[name]) > 0 {
			continue
		}
		claim, err := session.Claim(t.Context(), store.ClaimRequest{Network: name, Is4: true})
		if err != nil {
			t.Fatal(err)
		}
		owned = append(owned, claim)
	}
	record = session.Self()
	record.MTU = 1400
	if _, err := session.Update(t.Context(), record, owned); err != nil || len(owned) != networks || len(record.Pools) != networks {
		t.Errorf("with %d claims and pools of %d networks: %v", len(owned), len(record.Pools), err)
	}
	if err := session.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := s.Pools(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("it leaves %d claims, %v", len(left), err)
	}
}
