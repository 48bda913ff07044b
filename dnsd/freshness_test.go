package dnsd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestFresh: after a sync the new name is there (G1) and the old one is not
// (G2), every time; an address that passes on never shows its former owner (G3).
func TestFresh(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24")
	web := w.container("front", "web")
	w.serve()
	conn, err := path{from: web.Namespace, transport: "udp", server: "10.88.0.1"}.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	look := func(name string, kind uint16) string {
		t.Helper()
		if err := send(conn, ask1(name, kind)); err != nil {
			t.Fatal(err)
		}
		b, err := receive(conn, patience)
		m := new(dns.Msg)
		if err == nil {
			err = m.Unpack(b)
		}
		return answers(m, err)
	}
	for i := range 200 {
		name := fmt.Sprint("n", i)
		r := w.bare("front", "10.88.0.50/24", name)
		if err := w.sync(w.put(r), "front"); err != nil {
			t.Fatal(err)
		}
		if got := look(name+".netctl.internal", dns.TypeA); got != "10.88.0.50" {
			t.Fatalf("%s after its sync: %s", name, got)
		}
		if got, want := look("50.0.88.10.in-addr.arpa", dns.TypePTR), name+".front.netctl.internal."; got != want {
			t.Fatalf("the address of %s: %s", name, got)
		}
		if err := w.sync(w.remove(r.Key), ""); err != nil {
			t.Fatal(err)
		}
		if got := look(name+".netctl.internal", dns.TypeA); got != "NXDOMAIN" {
			t.Fatalf("%s after its end: %s", name, got)
		}
		if got := look("50.0.88.10.in-addr.arpa", dns.TypePTR); got != "NXDOMAIN" {
			t.Fatalf("the address after the end of %s: %s", name, got)
		}
	}
}

// load asks one question after the other on several sockets until it is
// stopped, and counts what goes wrong.
type load struct {
	patience           time.Duration // then a query counts as lost
	asked, lost, wrong atomic.Int64
	longest            atomic.Int64 // nanoseconds without any answer
	stop               context.CancelFunc
	group              sync.WaitGroup
}

// startLoad asks for the container's own name. perSecond is over all sockets.
func startLoad(t testing.TB, c *container, perSecond int, patience time.Duration) *load {
	t.Helper()
	const sockets = 4
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{patience: patience, stop: cancel}
	t.Cleanup(cancel)
	want := nth(c.w.networks[c.key.Network].gateways[0], 2).String()
	for range sockets {
		conn, err := path{from: c.Namespace, transport: "udp", server: "10.88.0.1"}.dial()
		if err != nil {
			t.Fatal(err)
		}
		l.group.Go(func() {
			defer conn.Close()
			tick := time.NewTicker(time.Second * sockets / time.Duration(perSecond))
			defer tick.Stop()
			last := time.Now()
			for id := uint16(0); ctx.Err() == nil; id++ {
				<-tick.C
				if l.one(conn, id, want) {
					last = time.Now()
				}
				l.longest.Store(max(l.longest.Load(), int64(time.Since(last))))
			}
		})
	}
	return l
}

func (l *load) one(conn net.Conn, id uint16, want string) bool {
	l.asked.Add(1)
	if err := send(conn, numbered("web", id)); err != nil {
		l.lost.Add(1)
		return false
	}
	for {
		b, err := receive(conn, l.patience)
		if err != nil || b == nil {
			l.lost.Add(1)
			return false
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			l.wrong.Add(1)
			return false
		}
		if m.Id != id {
			continue // late
		}
		if answers(m, nil) != want {
			l.wrong.Add(1)
		}
		return true
	}
}

func (l *load) end() {
	l.stop()
	l.group.Wait()
}

// TestUpdatesUnderLoad: changes cost the others nothing (G4).
func TestUpdatesUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/16")
	web := w.container("front", "web")
	w.serve()
	l := startLoad(t, web, 2000, patience)
	const cycles = 250
	for i := range cycles {
		r := w.bare("front", fmt.Sprintf("10.88.%d.%d/16", 1+i/200, 1+i%200), fmt.Sprint("n", i))
		if err := w.sync(w.put(r), "front"); err != nil {
			t.Fatal(err)
		}
		if err := w.sync(w.remove(r.Key), ""); err != nil {
			t.Fatal(err)
		}
	}
	l.end()
	if l.lost.Load() > 0 || l.wrong.Load() > 0 || l.asked.Load() < 100 {
		t.Errorf("%d queries during %d changes: %d lost, %d wrong", l.asked.Load(), 2*cycles, l.lost.Load(), l.wrong.Load())
	}
}

// successor waits until another process than the one that was killed answers.
func (w *world) successor(pid int) Status {
	w.t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		if st, err := w.status(); err == nil && st.PID != pid {
			return st
		}
	}
	w.t.Fatalf("nobody comes after process %d", pid)
	return Status{}
}

// TestKilledUnderLoad: who kills the resolver interrupts for less than 200 ms,
// and it comes back complete and by itself (G6).
func TestKilledUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/16")
	web := w.container("front", "web")
	for i := range 500 {
		w.put(w.bare("front", fmt.Sprintf("10.88.%d.%d/16", 1+i/200, 1+i%200), fmt.Sprint("n", i)))
	}
	w.shipped = shipped(t)
	st := w.serve()
	l := startLoad(t, web, 2000, 50*time.Millisecond)
	gap := func() time.Duration {
		time.Sleep(quickLife) // who is killed more often is not started so fast
		l.longest.Store(0)
		syscall.Kill(st.PID, syscall.SIGKILL)
		st = w.successor(st.PID)
		if st.Attachments != 501 {
			t.Errorf("%d attachments are back, want 501", st.Attachments)
		}
		time.Sleep(100 * time.Millisecond)
		return time.Duration(l.longest.Load())
	}
	const promised = 200 * time.Millisecond
	kills, _ := strconv.Atoi(os.Getenv("NETCTL_TEST_DNS_KILLS"))
	for i := range kills { // each of many, on a machine that has time for it
		took, slow := gap(), stretch()
		t.Logf("kill %d: no answer for %s (on a machine %.1f times slower than idle)", i+1, took.Round(time.Millisecond), slow)
		if took > time.Duration(float64(promised)*slow) {
			t.Errorf("kill %d: no answer for %s, promised are %s", i+1, took, promised)
		}
	}
	fastest(t, "the time without an answer", promised, gap)
	l.end()
	if l.wrong.Load() > 0 {
		t.Errorf("%d of %d answers were wrong", l.wrong.Load(), l.asked.Load())
	}
	t.Logf("%d queries, %d lost", l.asked.Load(), l.lost.Load())
}
