package dnsd

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

const (
	// Rates of the latency measurement, a second.
	latencyQueries = 5000
	latencyChanges = 100
	// latencyRounds are in place of one: short ones, of which the median
	// counts, are less at the mercy of what else the machine does.
	latencyRounds = 5
)

// changing is a server under names that change, and how it is told.
type changing struct {
	peer
	// told is how many changes it is told of at a time.
	told int
}

// changingPeers are ours, told of each change as by an ADD; dnsmasq told of
// ten at a time, which spares it nine readings of its file in ten; and dnsmasq
// told of each.
func changingPeers() []changing {
	all := peers()
	return []changing{{all[0], 1}, {all[1], 10}, {all[1], 1}}
}

func (c changing) String() string {
	if c.told == 1 {
		return c.name + ", told of each change"
	}
	return fmt.Sprintf("%s, told of %d at a time", c.name, c.told)
}

// BenchmarkPeersLatency measures how long answers take at a steady rate while
// names come and go. The server has one processor; who asks and who changes
// names are processes of their own on the other one. An answer's time ends
// when the kernel has it, not when the asking program gets to see it.
//
//	go test -run '^$' -bench PeersLatency -benchtime 1x ./dnsd
func BenchmarkPeersLatency(b *testing.B) {
	w := peerWorld(b, *peerNames)
	client := namespace(b)
	w.link(client)
	peers := changingPeers()
	rounds := make([]rounds, len(peers))
	for range *peerRounds * latencyRounds {
		for i, p := range peers {
			rounds[i].add(w.latency(client, p, *peerTime/latencyRounds))
		}
	}
	table := fmt.Sprintf("%s Here %d rounds of %v.\n\n", machine(), *peerRounds*latencyRounds, *peerTime/latencyRounds) +
		"| | queries | lost | changes | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|---|\n"
	for i, p := range peers {
		line := fmt.Sprintf("| %s %s\n", p, rounds[i])
		fmt.Print(line)
		table += line
	}
	writePage(b, "latency", table)
}

// rounds are what a server's measurements found.
type rounds struct {
	queries, lost, changes int
	p50, p99, p999         []time.Duration // of each round
}

func (r *rounds) add(took []time.Duration, lost, changed int) {
	r.queries += len(took)
	r.lost += lost
	r.changes += changed
	r.p50 = append(r.p50, permille(took, 500))
	r.p99 = append(r.p99, permille(took, 990))
	r.p999 = append(r.p999, permille(took, 999))
}

// String has the median round, and in parentheses the best and the worst.
func (r rounds) String() string {
	columns := fmt.Sprintf("| %d | %d | %d |", r.queries, r.lost, r.changes)
	for _, list := range [][]time.Duration{r.p50, r.p99, r.p999} {
		columns += fmt.Sprintf(" %v (%v to %v) |", permille(list, 500), permille(list, 0), permille(list, 999))
	}
	return columns
}

// permille is the time within which so many of a thousand answers came.
func permille(l []time.Duration, n int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[len(l)*n/1000].Round(time.Microsecond)
}

// latency asks a server for a while and returns how long each answer took.
func (w *world) latency(client *netns.Namespace, p changing, during time.Duration) (took []time.Duration, lost, changed int) {
	w.t.Helper()
	server := w.startPeer(client, p.peer, *peerNames)
	defer func() {
		server.Process.Signal(syscall.SIGTERM)
		server.Wait()
	}()
	author := w.pinned("1", filepath.Join(w.aside, "author"), p.name, w.dir, filepath.Join(w.aside, "hosts"),
		strconv.Itoa(server.Process.Pid), strconv.Itoa(p.told))
	stop, err := author.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	counted := make(chan []byte)
	go func() {
		out, err := author.Output()
		if err != nil {
			w.t.Errorf("%v: %v %s", author.Args, err, stderrOf(err))
		}
		counted <- out
	}()
	asker := w.pinned("1", filepath.Join(w.aside, "asker"), during.String())
	var out []byte
	err = client.Do(func() (err error) { out, err = asker.Output(); return err })
	if err != nil {
		w.t.Fatalf("%v: %v %s", asker.Args, err, stderrOf(err))
	}
	stop.Close()
	fmt.Sscan(string(<-counted), &changed)
	for ; len(out) >= 8; out = out[8:] {
		took = append(took, time.Duration(binary.NativeEndian.Uint64(out)))
	}
	return took, int(during.Seconds()*latencyQueries) - len(took), changed
}
