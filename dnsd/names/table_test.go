package names

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
)

// TestEditsEqualRebuild walks through random changes and compares, after each,
// what the edited table answers with what a table made from scratch answers.
// Old snapshots are asked again at the end: nothing may have changed in them.
func TestEditsEqualRebuild(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	edited := NewTable(base)
	have := map[ledger.Key]ledger.Record{}
	type kept struct {
		s    *Snapshot
		dump string
	}
	var old []kept
	for gen := uint64(1); gen < 20; gen++ {
		d := ledger.Delta{Generation: gen}
		for range 1 + rnd.IntN(4) {
			r := randomRecord(rnd)
			r.Created = time.Unix(int64(gen), int64(rnd.IntN(1000)))
			d.Gone = slices.DeleteFunc(d.Gone, func(k ledger.Key) bool { return k == r.Key })
			d.Changed = slices.DeleteFunc(d.Changed, func(c ledger.Record) bool { return c.Key == r.Key })
			if rnd.IntN(2) == 0 {
				delete(have, r.Key)
				d.Gone = append(d.Gone, r.Key)
				continue
			}
			have[r.Key] = r
			d.Changed = append(d.Changed, r)
		}
		got := edited.Apply(d)
		want := NewTable(base).Apply(ledger.Delta{Generation: gen, Full: true, Changed: slices.Collect(maps.Values(have))})
		gotDump, wantDump := dump(got), dump(want)
		if gotDump != wantDump {
			t.Fatalf("generation %d:\nedited:\n%s\nrebuilt:\n%s", gen, gotDump, wantDump)
		}
		old = append(old, kept{got, gotDump})
	}
	for _, k := range old {
		if dump(k.s) != k.dump {
			t.Fatalf("snapshot of generation %d changed after it was published", k.s.Generation)
		}
	}
}

// randomRecord draws from few values, so that names, containers, networks and
// gateways collide all the time. Each container has its own address on each
// network, as the ledger guarantees.
func randomRecord(rnd *rand.Rand) ledger.Record {
	n, c := rnd.IntN(4), rnd.IntN(6)
	network := []string{"red", "blue", "a.red", "Bad..Name"}[n]
	if rnd.IntN(4) == 0 { // another host's, with the ID and the address of any
		node := fmt.Sprint("node", rnd.IntN(2))
		return ledger.Record{Key: ledger.Remote(network, node, fmt.Sprint("c", c)), Names: ledger.Names{Own: []string{"x"}, Remote: node},
			Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, byte(10 + rnd.IntN(6))}), 32)}}}
	}
	r := ledger.Record{
		Key: ledger.Key{Network: network, Container: fmt.Sprint("c", c), IfName: "eth0"},
		Names: ledger.Names{
			Device:   fmt.Sprint("br", n/2),
			Internal: rnd.IntN(2) == 0,
			Hostname: []string{"", "x", "y", "c1"}[rnd.IntN(4)],
			Own:      []string{fmt.Sprint("c", c), []string{"x", "y", "x.y", "a.red", "Z"}[rnd.IntN(5)]},
		},
		Addresses: []ledger.Address{{
			Prefix:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, byte(10 + c)}), 24),
			Gateway: netip.AddrFrom4([4]byte{10, byte(n), 0, byte(1 + rnd.IntN(2))}),
		}},
	}
	if rnd.IntN(4) == 0 {
		r.Names.Inside, r.Netns = uint16(4000+rnd.IntN(2)), "/run/netns/"+r.Container
	}
	if rnd.IntN(3) == 0 {
		r.Redirects = []netip.AddrPort{netip.AddrPortFrom(r.Addresses[0].Gateway, 10053)}
	}
	if rnd.IntN(3) == 0 {
		r.Addresses = append(r.Addresses, ledger.Address{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", n, 10+c))})
	}
	return r
}

// dump asks a snapshot everything, for every client.
func dump(s *Snapshot) string {
	var out strings.Builder
	var questions []string
	for _, x := range []string{"c0", "c1", "c2", "c3", "c4", "c5", "x", "y", "x.y", "a.red", "red", "z", "gateway", "host"} {
		questions = append(questions, x)
		for _, n := range []string{"red", "blue", "a.red"} {
			questions = append(questions, x+"."+n, x+"."+n+".netctl.internal")
		}
		questions = append(questions, x+".netctl.internal")
	}
	for n := range 4 {
		for host := range 20 {
			questions = append(questions, fmt.Sprintf("%d.0.%d.10.in-addr.arpa", host, n))
		}
	}
	names := make([][]byte, len(questions))
	for i, q := range questions {
		names[i] = []byte(MustParse(q))
	}
	clients := map[string]*Client{}
	for l, host := range s.listeners {
		clients["host at "+l.String()] = host
		for n := range 4 {
			for c := range 6 {
				src := netip.AddrFrom4([4]byte{10, byte(n), 0, byte(10 + c)})
				if client := s.Client(l, src); client != nil {
					clients[fmt.Sprint(src, " at ", l)] = client
				}
			}
		}
	}
	for _, who := range slices.Sorted(maps.Keys(clients)) {
		c := clients[who]
		fmt.Fprintf(&out, "%s: container %q internal %v gateway %v\n", who, c.Container, c.Internal, c.gateway != nil)
		for i, q := range questions {
			out.WriteString(q + ": " + describe(s.Lookup(c, names[i]), names[i]) + "\n")
		}
	}
	elsewhere := map[string]bool{}
	for l, place := range s.Places() {
		elsewhere[l.String()] = place != Place{}
	}
	fmt.Fprintln(&out, "elsewhere:", elsewhere)
	return out.String()
}

// TestAnotherHostsContainer has the ID and the address of one of ours, and a name
// on a network that ours is not on: ours sees nothing of that, keeps its ways to
// ask, and is who asks from its address whichever of the two came first.
func TestAnotherHostsContainer(t *testing.T) {
	own := rec{net: "blue", ctr: "c1", addrs: "10.0.0.2/24 via 10.0.0.1", own: "own"}.record()
	own.Names.Internal, own.Names.Device = true, "br0"
	near := rec{net: "red", ctr: "c2", addrs: "10.1.0.2/24 via 10.1.0.1", own: "near"}.record()
	forged := func(network string) ledger.Record {
		return ledger.Record{Key: ledger.Remote(network, "evil", "c1"), Names: ledger.Names{Own: []string{"far"}, Remote: "evil"},
			Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix("10.0.0.2/32")}}}
	}
	at, src := Listener{Device: "br0", Gateway: netip.MustParseAddr("10.0.0.1")}, netip.MustParseAddr("10.0.0.2")
	for _, network := range []string{"red", "blue"} {
		for _, order := range [][]ledger.Record{{own, near, forged(network)}, {forged(network), near, own}} {
			table := NewTable(base)
			var s *Snapshot
			for i, r := range order {
				s = table.Apply(ledger.Delta{Generation: uint64(i + 1), Changed: []ledger.Record{r}})
			}
			c := s.Client(at, src)
			if c == nil || !c.Internal || c.Address() != src || len(c.subnets) != 1 {
				t.Fatalf("in %s: at our container's address is %+v", network, c)
			}
			if name := []byte(MustParse("near.red")); s.Lookup(c, name).Kind == Exists {
				t.Errorf("in %s: our container sees a network that another host says it is on", network)
			}
			s = table.Apply(ledger.Delta{Generation: 9, Gone: []ledger.Key{forged(network).Key}})
			if c := s.Client(at, src); c == nil || !c.Internal {
				t.Errorf("in %s: when the other one has gone, at our container's address is %+v", network, c)
			}
		}
	}
}

func TestBadNamesAreLeftOut(t *testing.T) {
	s := snapshotOf(rec{net: "n", ctr: "c", addrs: "10.0.0.2/24 via 10.0.0.1", own: "good a..b " + strings.Repeat("x", 64)})
	name := []byte(MustParse("good"))
	if got := s.Lookup(s.Container("c"), name); got.Kind != Exists {
		t.Errorf("good next to bad names: %s", describe(got, name))
	}
}

func manyNames(n int) ledger.Delta {
	d := ledger.Delta{Generation: 1, Full: true}
	for i := range n {
		d.Changed = append(d.Changed, numbered(i))
	}
	return d
}

func numbered(i int) ledger.Record {
	return rec{
		net: "big", ctr: fmt.Sprintf("container%d", i), age: i, hostname: fmt.Sprintf("host%d", i),
		addrs: fmt.Sprintf("10.%d.%d.%d/8 via 10.255.255.254", i>>16, i>>8&255, i&255),
		own:   fmt.Sprintf("web%d %012x", i, i),
	}.record()
}

// TestPublishTime holds the promise of a millisecond at 10,000 names.
func TestPublishTime(t *testing.T) {
	table := NewTable(base)
	table.Apply(manyNames(10_000))
	var took []time.Duration
	for i := range 101 {
		d := ledger.Delta{Generation: uint64(2 + i), Gone: []ledger.Key{numbered(i).Key}, Changed: []ledger.Record{numbered(10_000 + i)}}
		start := time.Now()
		table.Apply(d)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	// A busy machine can only add to what it takes.
	if fast := took[10]; fast > time.Millisecond {
		t.Errorf("publishing one change among 10,000 names took %s, want at most 1ms", fast)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n, " names"), func(b *testing.B) {
			table := NewTable(base)
			table.Apply(manyNames(n))
			gen := uint64(1)
			for i := 0; b.Loop(); i++ {
				gen++
				table.Apply(ledger.Delta{Generation: gen, Gone: []ledger.Key{numbered(n + i - 1).Key}, Changed: []ledger.Record{numbered(n + i)}})
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	d := manyNames(10_000)
	for b.Loop() {
		NewTable(base).Apply(d)
	}
}

func BenchmarkLookup(b *testing.B) {
	s := NewTable(base).Apply(manyNames(10_000))
	at, src := Listener{Device: "br-big", Gateway: netip.MustParseAddr("10.255.255.254")}, netip.MustParseAddr("10.0.1.1")
	name := []byte(MustParse("web77"))
	for b.Loop() {
		s.Lookup(s.Client(at, src), name)
	}
}
