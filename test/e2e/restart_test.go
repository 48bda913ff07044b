package e2e

import (
	"strings"
	"testing"
)

// TestTwentyRestarts: interfaces and default route follow the order of the
// flags, a network with a higher gw-priority carries the route, and 20 restarts
// change neither them nor the addresses nor the names.
func TestTwentyRestarts(t *testing.T) {
	h := newHost(t)
	h.netctl("create", "first", "--subnet", "10.88.1.0/24")
	h.netctl("create", "second", "--subnet", "10.88.2.0/24")
	h.netctl("run", "-d", "--name", "asker", "--network", "second", "--network", "first", "host", "sleep", "300")
	h.netctl("run", "-d", "--name", "plain", "--network", "first", "--network", "second", "host", "sleep", "300")
	h.netctl("run", "-d", "--name", "chosen", "--network", "first", "--network", "name=second,gw-priority=1", "host", "sleep", "300")
	look := func(name string) string {
		t.Helper()
		return h.netctl("exec", name, "sh", "-c", "ip -4 -o addr show scope global | awk '{print $2, $4}' | sort; ip route show default | awk '{print $3, $5; exit}'")
	}
	want := map[string]string{
		"plain":  "eth0 10.88.1.3/24\neth1 10.88.2.3/24\n10.88.1.1 eth0",
		"chosen": "eth0 10.88.1.4/24\neth1 10.88.2.4/24\n10.88.2.1 eth1",
	}
	for i := range 21 {
		for name, w := range want {
			if got := strings.TrimSpace(look(name)); got != w {
				t.Fatalf("%s after %d restarts:\n%s\nwant\n%s", name, i, got, w)
			}
		}
		// The asker's first network answers.
		if got := h.netctl("exec", "asker", "getent", "ahostsv4", "plain"); !strings.HasPrefix(got, "10.88.2.3 ") {
			t.Fatalf("plain after %d restarts resolves to %q", i, got)
		}
		if got := h.netctl("exec", "plain", "getent", "ahostsv4", "chosen.second"); !strings.HasPrefix(got, "10.88.2.4 ") {
			t.Fatalf("chosen.second after %d restarts resolves to %q", i, got)
		}
		// The network that carries the route is attached first.
		if got := h.netctl("exec", "chosen", "getent", "ahostsv4", "plain"); !strings.HasPrefix(got, "10.88.2.3 ") {
			t.Fatalf("plain after %d restarts resolves to %q for chosen", i, got)
		}
		h.netctl("restart", "-t", "0", "plain", "chosen")
	}
	h.netctl("rm", "-f", "asker", "plain", "chosen")
	h.netctl("network", "rm", "first", "second")
	if left := h.residue(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
