package dnsd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/test/netns"
)

// Rates of the latency measurement, a second.
const (
	latencyQueries = 5000
	latencyChanges = 100
)

// BenchmarkPeersLatency measures how long answers take at a steady rate while names
// come and go: ours told of each change, dnsmasq of ten at a time.
//
//	go test -run '^$' -bench PeersLatency -benchtime 1x ./dnsd
func BenchmarkPeersLatency(b *testing.B) {
	w := peerWorld(b, *peerNames)
	client := namespace(b)
	w.link(client)
	all := map[string][]time.Duration{}
	lost := map[string]int{}
	for range *peerRounds {
		for _, p := range peers()[:2] {
			took, missing := w.latency(client, p)
			all[p.name] = append(all[p.name], took...)
			lost[p.name] += missing
		}
	}
	table := machine() + "\n\n| | queries | lost | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|\n"
	for _, p := range peers()[:2] {
		l := all[p.name]
		slices.Sort(l)
		at := func(permille int) time.Duration { return l[len(l)*permille/1000].Round(time.Microsecond) }
		line := fmt.Sprintf("| %s | %d | %d | %v | %v | %v |\n", p.name, len(l), lost[p.name], at(500), at(990), at(999))
		fmt.Print(line)
		table += line
	}
	writePage(b, "latency", table)
}

// latency asks a server for a while and returns how long each answer took.
func (w *world) latency(client *netns.Namespace, p peer) (took []time.Duration, lost int) {
	w.t.Helper()
	cmd := w.startPeer(client, p, *peerNames)
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	conn, err := path{from: client, transport: "udp", server: "10.0.0.1"}.dial()
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	stop := make(chan struct{})
	changed := make(chan int)
	go func() {
		if p.name == "dnsd" {
			changed <- w.changeLedger(stop)
		} else {
			changed <- w.changeHosts(stop, cmd.Process)
		}
	}()
	took, lost = ping(conn, *peerTime)
	close(stop)
	fmt.Printf("  %s: %d changes\n", p.name, <-changed)
	return took, lost
}

// ping sends questions at the rate and matches the answers by ID.
func ping(conn net.Conn, during time.Duration) (took []time.Duration, lost int) {
	var sent [65536]time.Time
	n := int(during.Seconds() * latencyQueries)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for len(took) < n {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			took = append(took, time.Since(sent[uint16(buf[0])<<8|uint16(buf[1])]))
		}
	}()
	msg := ask1("web1", dns.TypeA)
	start := time.Now()
	for i := range n {
		if ahead := time.Until(start.Add(time.Duration(i) * time.Second / latencyQueries)); ahead > 0 {
			time.Sleep(ahead)
		}
		msg[0], msg[1] = byte(i>>8), byte(i)
		sent[uint16(i)] = time.Now()
		conn.Write(msg)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	<-done
	return took, n - len(took)
}

// changeLedger adds and removes names one by one, each with its sync.
func (w *world) changeLedger(stop chan struct{}) (n int) {
	tick := time.NewTicker(time.Second / latencyChanges)
	defer tick.Stop()
	for ; ; n++ {
		select {
		case <-stop:
			return n
		case <-tick.C:
		}
		r := w.bare("big", "10.200.0.1/8", "changing")
		var generation uint64
		err := w.book.Update(func(tx *ledger.Tx) (err error) {
			if n%2 == 0 {
				err = tx.Put(r)
			} else {
				_, _, err = tx.Delete(r.Key)
			}
			generation = tx.Generation()
			return err
		})
		if err != nil {
			w.t.Error(err)
			return n
		}
		if _, err := w.do(fmt.Sprint("sync ", generation)); err != nil {
			w.t.Error(err)
			return n
		}
	}
}

// changeHosts rewrites dnsmasq's file, with ten new names each time.
func (w *world) changeHosts(stop chan struct{}, server *os.Process) (n int) {
	path := filepath.Join(w.aside, "hosts")
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Error(err)
		return 0
	}
	defer os.WriteFile(path, text, 0o644)
	tick := time.NewTicker(time.Second * 10 / latencyChanges)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return n
		case <-tick.C:
		}
		var more strings.Builder
		for i := range 10 {
			n++
			fmt.Fprintf(&more, "10.200.0.%d changing%d\n", i, n)
		}
		if err := os.WriteFile(path, append(slices.Clone(text), more.String()...), 0o644); err != nil {
			w.t.Error(err)
			return n
		}
		server.Signal(syscall.SIGHUP)
	}
}
