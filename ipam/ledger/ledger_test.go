package ledger_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
)

func open(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.OpenBoot(t.TempDir(), "this-boot")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func set(t testing.TB, subnets ...string) ipam.Set {
	t.Helper()
	var s ipam.Set
	for _, subnet := range subnets {
		s = append(s, ipam.Range{Subnet: netip.MustParsePrefix(subnet)})
	}
	sets, err := ipam.CanonicalSets([]ipam.Set{s})
	if err != nil {
		t.Fatal(err)
	}
	return sets[0]
}

func key(i int) ledger.Key {
	return ledger.Key{Network: "net", Container: fmt.Sprintf("c%d", i), IfName: "eth0"}
}

// take reserves one address for a new attachment.
func take(l *ledger.Ledger, k ledger.Key, from ipam.Set) (netip.Addr, error) {
	var addr netip.Addr
	err := l.Update(func(tx *ledger.Tx) error {
		a, r, err := tx.Allocate(k.Network, from)
		if err != nil {
			return err
		}
		addr = a
		return tx.Put(ledger.Record{Key: k, Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, r.Subnet.Bits())}}})
	})
	return addr, err
}

func release(t testing.TB, l *ledger.Ledger, k ledger.Key) {
	t.Helper()
	if err := l.Update(func(tx *ledger.Tx) error { _, _, err := tx.Delete(k); return err }); err != nil {
		t.Fatal(err)
	}
}

func TestAllocateGivesEachAddressOnceAndThenSaysWhy(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/28")
	seen := map[netip.Addr]bool{}
	for i := range 13 { // 14 hosts, one of them the gateway
		addr, err := take(l, key(i), from)
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] || addr == netip.MustParseAddr("10.1.0.1") || !from[0].Subnet.Contains(addr) {
			t.Fatalf("address %s: twice, the gateway, or outside", addr)
		}
		seen[addr] = true
	}
	_, err := take(l, key(99), from)
	var exhausted *ledger.ExhaustedError
	if !errors.As(err, &exhausted) || exhausted.Error() != "no free address in net (10.1.0.0/28: 13 in use)" {
		t.Fatalf("got %v", err)
	}
	release(t, l, key(5))
	if addr, err := take(l, key(99), from); err != nil || addr != netip.MustParseAddr("10.1.0.7") {
		t.Fatalf("after a release: %s, %v", addr, err)
	}
}

// TestAFullRangeCountsItsOwn addresses, and not those of its neighbours.
func TestAFullRangeCountsItsOwn(t *testing.T) {
	l := open(t)
	fill(t, l, set(t, "10.1.0.0/19"), 8000)
	within := ipam.Set{
		{Subnet: netip.MustParsePrefix("10.1.0.0/19"), Start: addr("10.1.0.10"), End: addr("10.1.0.14")},
		{Subnet: netip.MustParsePrefix("10.1.0.0/19"), Start: addr("10.1.15.255"), End: addr("10.1.16.1")},
	}
	_, err := take(l, key(9999), within)
	var exhausted *ledger.ExhaustedError
	if !errors.As(err, &exhausted) || exhausted.Used != 5+3 {
		t.Fatalf("got %v", err)
	}
}

func TestAllocateComesBackToAnAddressAsLateAsPossible(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/29")
	var got []string
	for range 6 {
		addr, err := take(l, key(0), from)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, addr.String())
		release(t, l, key(0))
	}
	want := "[10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.1.0.2]"
	if fmt.Sprint(got) != want {
		t.Fatalf("got %v, want %s", got, want)
	}
}

func TestAllocateCrossesChunksAndAlternatives(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/19")
	from = append(from, set(t, "10.9.0.0/29")...)
	err := l.Update(func(tx *ledger.Tx) error {
		for i := range 8189 + 5 { // all of the /19 and of the /29
			a, r, err := tx.Allocate("net", from)
			if err != nil {
				return fmt.Errorf("after %d: %w", i, err)
			}
			r2 := ledger.Record{Key: key(i), Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, r.Subnet.Bits())}}}
			if err := tx.Put(r2); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := take(l, key(100000), from); err == nil {
		t.Fatalf("got %s from full ranges", addr)
	}
	release(t, l, key(8000))
	if _, err := take(l, key(100000), from); err != nil {
		t.Fatal(err)
	}
}

func TestIPv6RangesAreSparse(t *testing.T) {
	l, from := open(t), set(t, "fd00:1::/64")
	for i := range 3 {
		addr, err := take(l, key(i), from)
		if want := fmt.Sprintf("fd00:1::%d", i+2); err != nil || addr.String() != want {
			t.Fatalf("got %s, %v, want %s", addr, err, want)
		}
	}
}

func TestPutNamesTheHolder(t *testing.T) {
	l := open(t)
	port := ledger.Port{Protocol: "tcp", HostPort: 8080, Container: 80}
	local := netip.MustParseAddr("127.0.0.1")
	first := ledger.Record{Key: key(1), Ports: []ledger.Port{port},
		Addresses: []ledger.Address{{Prefix: netip.MustParsePrefix("10.1.0.2/24")}}}
	put := func(r ledger.Record) error { return l.Update(func(tx *ledger.Tx) error { return tx.Put(r) }) }
	if err := put(first); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		record ledger.Record
		want   string
	}{
		"same address":       {ledger.Record{Addresses: first.Addresses}, "address 10.1.0.2 is already taken by container c1 (network net, interface eth0)"},
		"same port":          {ledger.Record{Ports: []ledger.Port{port}}, "port 8080/tcp is already taken by container c1 (network net, interface eth0)"},
		"port on one host":   {ledger.Record{Ports: []ledger.Port{{Protocol: "tcp", HostIP: local, HostPort: 8080}}}, "port 127.0.0.1:8080/tcp is already taken by container c1 (network net, interface eth0)"},
		"range that has it":  {ledger.Record{Ports: []ledger.Port{{Protocol: "tcp", HostPort: 8078, Count: 5}}}, "port 8080/tcp is already taken by container c1 (network net, interface eth0)"},
		"other protocol":     {ledger.Record{Ports: []ledger.Port{{Protocol: "udp", HostPort: 8080}}}, ""},
		"another port":       {ledger.Record{Ports: []ledger.Port{{Protocol: "tcp", HostPort: 8081}}}, ""},
		"range that ends so": {ledger.Record{Ports: []ledger.Port{{Protocol: "tcp", HostPort: 8070, Count: 10}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.record.Key = key(2)
			got := ""
			if err := put(c.record); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			release(t, l, key(2))
		})
	}
	release(t, l, key(1))
	if err := put(ledger.Record{Key: key(2), Ports: first.Ports, Addresses: first.Addresses}); err != nil {
		t.Fatalf("after the holder has gone: %v", err)
	}
}

func TestAFailedUpdateReservesNothing(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/24")
	boom := errors.New("boom")
	err := l.Update(func(tx *ledger.Tx) error {
		a, _, err := tx.Allocate("net", from)
		if err != nil {
			return err
		}
		if err := tx.Put(ledger.Record{Key: key(1), Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, 24)}}}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if addr, err := take(l, key(2), from); err != nil || addr.String() != "10.1.0.2" {
		t.Fatalf("got %s, %v", addr, err)
	}
}

func TestChanges(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/24")
	for i := range 3 {
		if _, err := take(l, key(i), from); err != nil {
			t.Fatal(err)
		}
	}
	full, err := l.Changes(0)
	if err != nil || !full.Full || len(full.Changed) != 3 {
		t.Fatalf("full: %+v, %v", full, err)
	}
	release(t, l, key(1))
	if _, err := take(l, key(7), from); err != nil {
		t.Fatal(err)
	}
	d, err := l.Changes(full.Generation)
	if err != nil || d.Full || len(d.Changed) != 1 || d.Changed[0].Key != key(7) || len(d.Gone) != 1 || d.Gone[0] != key(1) {
		t.Fatalf("difference: %+v, %v", d, err)
	}
	if none, err := l.Changes(d.Generation); err != nil || none.Full || len(none.Changed)+len(none.Gone) != 0 {
		t.Fatalf("no difference: %+v, %v", none, err)
	}
}

func TestARebootFreesEverything(t *testing.T) {
	dir := t.TempDir()
	from := set(t, "10.1.0.0/30")
	before, err := ledger.OpenBoot(dir, "boot-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(before, key(1), from); err != nil {
		t.Fatal(err)
	}
	after, err := ledger.OpenBoot(dir, "boot-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(after, key(2), from); err != nil {
		t.Fatalf("the only address is still reserved: %v", err)
	}
	if old, _ := filepath.Glob(filepath.Join(dir, "ledger-boot-1*")); len(old) > 0 {
		t.Fatalf("left behind: %v", old)
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	whole := t.TempDir()
	good, err := ledger.OpenBoot(whole, "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(good, key(7), set(t, "10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(whole, "ledger-b.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"empty": {}, "short": []byte("netctl"), "noise": make([]byte, 40000),
		"a quarter": content[:len(content)/4], "half": content[:len(content)/2], "all but a page": content[:len(content)/4096*4096-4096]} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "ledger-b.db"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := ledger.OpenBoot(dir, "b")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.View(func(tx *ledger.Tx) error { _, err := tx.Attachments(""); return err }); err != nil {
				t.Fatal(err)
			}
			if _, err := take(l, key(1), set(t, "10.1.0.0/24")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLookingMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = l.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		if _, found, _ := tx.Attachment(key(1)); found || len(records) > 0 {
			t.Error("something is in a ledger that nobody wrote to")
		}
		return errors.Join(err, tx.Room("net", set(t, "10.1.0.0/24")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the directory was made: %v", err)
	}
}

func TestAnUpdateWithoutChangeWritesNothing(t *testing.T) {
	dir := t.TempDir()
	l, err := ledger.OpenBoot(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(l, key(1), set(t, "10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "ledger-b.db"))
	if err != nil {
		t.Fatal(err)
	}
	release(t, l, key(2))
	after, err := os.ReadFile(filepath.Join(dir, "ledger-b.db"))
	if err != nil || string(before) != string(after) {
		t.Fatalf("the file changed: %v", err)
	}
}

// TestParallelProcesses has several processes take addresses at the same time.
func TestParallelProcesses(t *testing.T) {
	if dir := os.Getenv("LEDGER_TEST_DIR"); dir != "" {
		takeMany(t, dir, os.Getenv("LEDGER_TEST_NAME"))
		return
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestParallelProcesses$")
			cmd.Env = append(os.Environ(), "LEDGER_TEST_DIR="+dir, fmt.Sprintf("LEDGER_TEST_NAME=p%d", i))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, out)
			}
		})
	}
	wg.Wait()
	l, err := ledger.OpenBoot(dir, "shared")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]ledger.Key{}
	err = l.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		for _, r := range records {
			addr := r.Addresses[0].Prefix.Addr()
			if other, twice := seen[addr]; twice {
				t.Errorf("address %s twice: %s and %s", addr, other, r.Key)
			}
			seen[addr] = r.Key
		}
		return err
	})
	if err != nil || len(seen) != 8*20 {
		t.Fatalf("%d addresses, %v", len(seen), err)
	}
}

func takeMany(t *testing.T, dir, name string) {
	l, err := ledger.OpenBoot(dir, "shared")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		k := ledger.Key{Network: "net", Container: fmt.Sprintf("%s-%d", name, i), IfName: "eth0"}
		if _, err := take(l, k, set(t, "10.1.0.0/24")); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkAllocate times an allocation and its release in a pool of 65,534 and
// one of 16 million, empty and nearly full, in turns, so that a load of the machine
// touches all alike. It reports medians in microseconds, and how they compare with
// those of the empty pool.
func BenchmarkAllocate(b *testing.B) {
	type pool struct {
		name             string
		l                *ledger.Ledger
		from             ipam.Set
		allocate, delete []time.Duration
	}
	var pools []*pool
	for _, p := range []struct {
		name, subnet string
		used         int
	}{{"empty", "10.1.0.0/16", 0}, {"32000", "10.1.0.0/16", 32000}, {"65000", "10.1.0.0/16", 65000}, {"slash8", "10.0.0.0/8", 100000}} {
		l, from := open(b), set(b, p.subnet)
		fill(b, l, from, p.used)
		pools = append(pools, &pool{name: p.name, l: l, from: from})
	}
	runtime.GC()
	k := ledger.Key{Network: "net", Container: "bench", IfName: "eth0"}
	for b.Loop() {
		for _, p := range pools {
			start := time.Now()
			if _, err := take(p.l, k, p.from); err != nil {
				b.Fatal(err)
			}
			middle := time.Now()
			release(b, p.l, k)
			p.allocate = append(p.allocate, middle.Sub(start))
			p.delete = append(p.delete, time.Since(middle))
		}
	}
	b.ReportMetric(0, "ns/op")
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds()) / 1e3
	}
	for _, p := range pools {
		b.ReportMetric(median(p.allocate), "µs-"+p.name)
		b.ReportMetric(median(p.delete), "µs-release-"+p.name)
		b.ReportMetric(median(p.allocate)/median(pools[0].allocate), "ratio-"+p.name)
	}
}

// fill reserves so many addresses, each for a container of its own.
func fill(t testing.TB, l *ledger.Ledger, from ipam.Set, n int) {
	t.Helper()
	err := l.Update(func(tx *ledger.Tx) error {
		for i := range n {
			a, r, err := tx.Allocate("net", from)
			if err != nil {
				return err
			}
			if err := tx.Put(ledger.Record{Key: key(i), Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, r.Subnet.Bits())}}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestByContainer(t *testing.T) {
	l := open(t)
	err := l.Update(func(tx *ledger.Tx) error {
		for _, k := range []ledger.Key{
			{Network: "net", Container: "c1", IfName: "eth0"}, {Network: "net", Container: "c1", IfName: "eth1"},
			{Network: "net", Container: "c11", IfName: "eth0"}, {Network: "net-2", Container: "c1", IfName: "eth2"},
			{Network: "net2", Container: "c2", IfName: "eth0"}, {Network: "z", Container: "c1", IfName: "eth3", Part: "portmap"},
		} {
			if err := tx.Put(ledger.Record{Key: k}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for container, want := range map[string]string{"c1": "eth0 eth1 eth2 eth3 ", "c2": "eth0 ", "c": ""} {
		err := l.View(func(tx *ledger.Tx) error {
			records, err := tx.ByContainer(container)
			got := ""
			for _, r := range records {
				got += r.IfName + " "
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", container, got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestChangesReachBackFarEnough: whoever lags behind by 1,024 changes is told
// the difference, however many there were before.
func TestChangesReachBackFarEnough(t *testing.T) {
	l := open(t)
	for range 6 {
		err := l.Update(func(tx *ledger.Tx) error {
			for i := range 350 {
				if err := tx.Put(ledger.Record{Key: key(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		newest, err := l.Generation()
		if err != nil {
			t.Fatal(err)
		}
		for lag, full := range map[uint64]bool{1: false, 349: false, 1024: false, 1025: true} {
			d, err := l.Changes(newest - lag)
			if want := min(int(lag), 350); err != nil || d.Full != full || len(d.Changed) != want {
				t.Errorf("%d behind: full %t, %d changed, %v; want %t, %d", lag, d.Full, len(d.Changed), err, full, want)
			}
		}
	}
}

// TestFresh: an address is fresh until somebody has had it, whatever its
// neighbours in the bitmap are.
func TestFresh(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/24")
	fresh := func(a netip.Addr) bool {
		var result bool
		if err := l.View(func(tx *ledger.Tx) error { result = tx.Fresh("net", a); return nil }); err != nil {
			t.Fatal(err)
		}
		return result
	}
	addr, err := take(l, key(0), from)
	if err != nil || !fresh(addr) || !fresh(addr.Next()) {
		t.Fatalf("%s: fresh %t, the next one %t, %v", addr, fresh(addr), fresh(addr.Next()), err)
	}
	release(t, l, key(0))
	if fresh(addr) || !fresh(addr.Next()) {
		t.Errorf("after the release: %s is fresh: %t, the next one: %t", addr, fresh(addr), fresh(addr.Next()))
	}
}
