//go:build long

package overlay

import (
	"errors"
	"testing"
	"time"

	"github.com/netctl/netctl/test/hosts"
)

// Row 28, the rest: the names of a host that dies, or that is behind a path which
// drops everything, go when its session does, and come back with it.
func TestNamesOfADeadHost(t *testing.T) {
	for name, world := range namedWorlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := world(t, 3)
			a, b, c := w.Hosts[0], w.Hosts[1], w.Hosts[2]
			one, two, three := a.Add("blue", "here"), b.Add("blue", "there"), c.Add("blue", "beyond")
			awaitName(t, one, "there", two.Addr.String())
			awaitName(t, one, "beyond", three.Addr.String())
			start := time.Now()
			b.Kill()
			must(t, errors.Join(b.Cut(), w.Switch.Run("nft", "add table bridge silent; add chain bridge silent forward { type filter hook forward priority 0; }; add chain bridge silent input { type filter hook input priority 0; };"+
				"add rule bridge silent forward ether type ip ip saddr "+c.Addr.String()+" drop; add rule bridge silent input ether type ip ip saddr "+c.Addr.String()+" drop")))
			for _, name := range []string{"there", "beyond"} {
				_, err := one.AwaitName(t.Context(), name, "", 2*hosts.Patience)
				must(t, err)
				t.Logf("row 28: %s gone %v after its host", name, time.Since(start).Round(10*time.Millisecond))
			}
			must(t, w.Switch.Run("nft", "delete", "table", "bridge", "silent"))
			awaitName(t, one, "beyond", three.Addr.String())
		})
	}
}
