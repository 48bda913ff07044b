package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestParallelRuns starts 50 containers at the same time: each gets an address
// of its own, and its name is answered on the first question. Then it removes
// them at the same time: none is answered once it is gone, and nothing is left.
func TestParallelRuns(t *testing.T) {
	const n = 50
	h := newHost(t)
	h.netctl("create", "net", "--subnet", "10.88.0.0/16")
	h.netctl("run", "-d", "--name", "asker", "--network", "net", "host", "sleep", "300")
	var ids []string
	var lock sync.Mutex
	each(n, func(i int) {
		name := fmt.Sprintf("web%d", i)
		id := h.netctl("run", "-d", "--name", name, "--network", "net", "host", "sleep", "300")
		// The first question after `run` has returned.
		answer := h.netctl("exec", "asker", "getent", "ahostsv4", name)
		address := h.netctl("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
		if address == "" || !strings.HasPrefix(answer, address+" ") {
			t.Errorf("%s has %q, and its name leads to %q", name, address, answer)
		}
		lock.Lock()
		defer lock.Unlock()
		ids = append(ids, id)
	})
	seen := map[string]bool{}
	for line := range strings.Lines(h.netctl(append([]string{"inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"}, ids...)...)) {
		if seen[line] {
			t.Errorf("address %s twice", line)
		}
		seen[line] = true
	}
	if len(seen) != n {
		t.Errorf("%d addresses for %d containers", len(seen), n)
	}
	each(n, func(i int) {
		name := fmt.Sprintf("web%d", i)
		h.netctl("rm", "-f", name)
		if out, _, status := h.try("exec", "asker", "getent", "ahostsv4", name+".net.netctl.internal"); status != 2 {
			t.Errorf("%s is gone and its name leads to %q (status %d)", name, out, status)
		}
	})
	h.netctl("rm", "-f", "asker")
	h.netctl("network", "rm", "net")
	if left := h.residue(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func each(n int, fn func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
