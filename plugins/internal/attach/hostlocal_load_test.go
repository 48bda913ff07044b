package attach

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// TestHostLocalRecord is the use by our own modes: record and files go
// together.
func TestHostLocalRecord(t *testing.T) {
	m := newMachine(t)
	at := attachmentOf(m.request(cni.Add, dualCall("c1")))
	reserve := func() {
		t.Helper()
		source := m.source(HostLocalIPAM, m.request(cni.Add, dualCall("c1")))
		addressing, err := source.parse()
		if err != nil {
			t.Fatal(err)
		}
		_, err = addressing.reserve(t.Context(), at, func(tx *ledger.Tx, g Grant) error {
			r := ledger.Record{Key: ledger.Key(at), Foreign: true, Names: ledger.Names{Own: []string{"web"}, Device: "br0"}}
			for _, a := range g.Addresses {
				r.Addresses = append(r.Addresses, ledger.Address(a))
			}
			return tx.Put(r)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	record := func() (r ledger.Record, found bool) {
		t.Helper()
		if err := m.Ledger.View(func(tx *ledger.Tx) (err error) {
			r, found, err = tx.Attachment(ledger.Key(at))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return r, found
	}
	reserve()
	reserve()
	if r, _ := record(); len(r.Addresses) != 2 {
		t.Errorf("record: %+v", r)
	}
	// GC of the files leaves to the record what the record stands for.
	source := m.source(HostLocalIPAM, m.request(cni.GC, dualCall("")))
	if err := source.collect(t.Context(), valid{}); err != nil {
		t.Fatal(err)
	}
	m.wantFiles("10.1.0.2=c1/eth0 fd00::2=c1/eth0")
	// The reference releases the addresses: the names go too.
	m.remove("10.1.0.2")
	m.remove("fd00::2")
	m.mustAdd(dualCall("c2"))
	if r, found := record(); !found || len(r.Addresses) != 0 || !r.Names.IsZero() {
		t.Errorf("record: %+v, %t", r, found)
	}
	if err := m.source(HostLocalIPAM, m.request(cni.Del, dualCall("c1"))).release(t.Context(), at, forgetting(at)); err != nil {
		t.Fatal(err)
	}
	if _, found := record(); found {
		t.Error("the record has stayed")
	}
	m.wantFiles("10.1.0.3=c2/eth0 fd00::3=c2/eth0")
}

// TestHostLocalParallel has many at once, in one process.
func TestHostLocalParallel(t *testing.T) {
	const n = 40
	m := newMachine(t)
	for range 3 {
		got := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				result, err := m.IPAM(HostLocalIPAM).Add(t.Context(), m.request(cni.Add, dualCall(fmt.Sprintf("c%d", i))))
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = text(result)
			})
		}
		wg.Wait()
		slices.Sort(got)
		if len(slices.Compact(got)) != n {
			t.Fatalf("an address was given out twice: %v", got)
		}
		for i := range n {
			wg.Go(func() {
				if err := m.IPAM(HostLocalIPAM).Del(t.Context(), m.request(cni.Del, dualCall(fmt.Sprintf("c%d", i)))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		m.wantFiles("")
	}
}

func TestRoomBeside(t *testing.T) {
	m := newMachine(t)
	pool, err := ParsePool(m.request(cni.Add, smallCall("c1")))
	if err != nil {
		t.Fatal(err)
	}
	taken := map[netip.Addr]ledger.Key{}
	for i, text := range []string{"10.1.0.2", "10.1.0.3", "10.9.0.1", "10.1.0.4"} {
		if err := roomBeside(taken, "net", pool.Sets[0]); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		taken[netip.MustParseAddr(text)] = ledger.Key{}
	}
	if err := roomBeside(taken, "net", pool.Sets[0]); err == nil || !strings.Contains(err.Error(), "3 in use") {
		t.Errorf("full: %v", err)
	}
}

// FuzzIPAM gives all kinds whatever may stand in a configuration.
func FuzzIPAM(f *testing.F) {
	for _, seed := range []string{dual, twoSets, `,"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}]`,
		`,"subnet":"::/0"`, `,"routes":[null,{"dst":"::/0"}]`, `,"ranges":[[{"subnet":"255.255.255.0/24","rangeEnd":"255.255.255.255"}]]`} {
		f.Add(seed, `,"runtimeConfig":{"ips":["10.1.0.9"],"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}`, "IP=10.1.0.7/24")
	}
	m := newMachine(f)
	f.Fuzz(func(t *testing.T, keys, top, args string) {
		env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0", "CNI_ARGS": args}
		for _, kind := range IPAMKinds() {
			stdin := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","ipam":{"type":%q%s}%s}`, kind, keys, top)
			req, err := cni.Parse(func(name string) string { return env[name] }, []byte(stdin))
			if err != nil {
				continue
			}
			addressing, err := m.source(kind, req).parse()
			var coded *cni.Error
			if err != nil && !errors.As(err, &coded) {
				t.Fatalf("error without code: %v", err)
			}
			if err == nil {
				addressing.routes()
			}
		}
	})
}

// BenchmarkHostLocal is the work of one ADD and DEL without the process.
func BenchmarkHostLocal(b *testing.B) {
	for _, used := range []int{0, 1000, 65000} {
		b.Run(fmt.Sprint(used), func(b *testing.B) {
			m := newMachine(b)
			a := netip.MustParseAddr("10.1.0.2")
			for i := range used {
				m.put(a.String(), fmt.Sprintf("%064x\r\neth0", i))
				a = a.Next()
			}
			c := call{kind: HostLocalIPAM, container: "bench", keys: `,"subnet":"10.1.0.0/16"`}
			m.mustAdd(c)
			m.mustDel(c)
			for b.Loop() {
				m.mustAdd(c)
				m.mustDel(c)
			}
		})
	}
}
