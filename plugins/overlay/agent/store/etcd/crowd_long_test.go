//go:build long

package etcd_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
)

// Row 17 in full: 200 and 1,000 simultaneous claims, of 98 and 118 percent of
// the pools that there are.
func TestAThousandClaims(t *testing.T) {
	for _, claimants := range []int{200, 1000} {
		for _, percent := range []int{98, 118} {
			pools := claimants * 100 / percent
			t.Run(fmt.Sprintf("%d for %d pools", claimants, pools), func(t *testing.T) {
				c := newCrowd(t, claimants, pools)
				sessions, entered := c.enter(t, nil)
				took := c.all(func(i int, _ *etcd.Store, n store.Node) {
					c.claim(t, sessions[i], n)
				})
				c.check(t, pools)
				t.Logf("row 17: %d claims for %d pools took %v (to enter without claims %v); %d told that there is none",
					claimants, pools, took.Round(time.Millisecond), entered.Round(time.Millisecond), c.full)
			})
		}
	}
}
