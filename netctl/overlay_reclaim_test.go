package netctl

import (
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/control"
)

// TestPolicies: what the flags of overlay policy ask for, and how a policy is
// shown.
func TestPolicies(t *testing.T) {
	for _, c := range []struct{ after, above, want string }{
		{"90m", "80", "hosts are reclaimed that are gone for 1h30m0s, when a network is used up to 80 %"},
		{"1s", "100%", "hosts are reclaimed that are gone for 1s, when a network is used up to 100 %"},
		{"", "50", "hosts are reclaimed that are gone for 72h0m0s, when a network is used up to 50 %"},
		{"never", "", "hosts that are gone keep their pools until somebody reclaims them"},
		{"500ms", "", "bad"}, {"-1h", "", "bad"}, {"a while", "", "bad"}, {"", "0", "bad"}, {"", "101", "bad"}, {"", "much", "bad"},
	} {
		change, err := policyChange(c.after, c.above)
		if (err != nil) != (c.want == "bad") {
			t.Errorf("%q, %q: %v", c.after, c.above, err)
		}
		if err != nil {
			continue
		}
		p := control.Policy{ReclaimAfter: 72 * time.Hour, ReclaimAbove: 90}
		if change.ReclaimAfter != nil {
			p.ReclaimAfter = *change.ReclaimAfter
		}
		if change.ReclaimAbove != nil {
			p.ReclaimAbove = *change.ReclaimAbove
		}
		if got := policyText(p); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.after, c.above, got, c.want)
		}
	}
}
