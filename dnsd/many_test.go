package dnsd

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/ipam/ledger"
)

// fill writes so many records in few transactions.
func (w *world) fill(network string, n int) {
	w.t.Helper()
	w.update(func(tx *ledger.Tx) error {
		for i := range n {
			r := w.bare(network, fmt.Sprintf("10.%d.%d.%d/8", 1+i>>16, i>>8&255, i&255), fmt.Sprint("n", i), fmt.Sprintf("%012x", i))
			r.Created = time.Unix(int64(i), 0)
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestStartWithMany: with 10,000 attachments a killed resolver is back, with
// all of them, within the second that it may take.
func TestStartWithMany(t *testing.T) {
	w := newWorld(t)
	w.network("big", "10.0.0.1/8")
	web := w.container("big", "web")
	w.fill("big", 10_000)
	w.shipped = shipped(t)
	st := w.serve()
	fastest(t, "being back with 10,000 names", time.Second, func() time.Duration {
		syscall.Kill(st.PID, syscall.SIGKILL)
		w.gone(st.PID)
		start := time.Now()
		if err := w.sync(0, "big"); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if got := answers(ask(web.Namespace, "udp", "10.0.0.1", query("n9999", dns.TypeA))); got != "10.1.39.15" {
			t.Errorf("the last name: %s", got)
		}
		t.Logf("back after %s with %d kB", took, w.memory())
		var err error
		if st, err = w.status(); err != nil {
			t.Fatal(err)
		}
		return took
	})
}

// TestSyncTime: what an ADD or DEL waits for does not grow with the names.
func TestSyncTime(t *testing.T) {
	w := newWorld(t)
	w.network("big", "10.0.0.1/8")
	w.fill("big", 10_000)
	w.shipped = shipped(t)
	w.serve()
	i := 0
	fastest(t, "a sync among 10,000 names", 10*time.Millisecond, func() time.Duration {
		r := w.bare("big", "10.200.0.1/8", "changing")
		i++
		r.Created = time.Unix(int64(i), 0)
		generation := w.put(r)
		start := time.Now()
		if err := w.sync(generation, "big"); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	})
}
