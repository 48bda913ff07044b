package firewall

import (
	"context"
	"strings"
	"testing"
)

// An attachment that is applied again with another port, as after a killed call,
// keeps nothing of the one before.
func TestAppliedAgainWithAnotherPort(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := &world{host: newHost(t, b)}
		w.host.sh(t, "ip link add br1 type bridge; ip link set br1 up")
		w.host.do(t, func() {
			check(t, b.Apply(context.Background(), publishing("web", 2, 8081, 80)))
			check(t, b.Apply(context.Background(), publishing("web", 2, 9091, 80)))
		})
		if rules := w.rules(t); strings.Contains(rules, "8081") || !strings.Contains(rules, "9091") {
			t.Errorf("applied with port 9091 after 8081:\n%s", rules)
		}
	})
}
