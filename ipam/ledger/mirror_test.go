package ledger_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
)

const directory = "/var/lib/cni/networks/net"

// mirrored runs fn on the copy of the directory in a transaction of its own.
func mirrored(t testing.TB, l *ledger.Ledger, fn func(ledger.Mirror) error) {
	t.Helper()
	if err := l.Update(func(tx *ledger.Tx) error { return fn(tx.Mirror("net", directory)) }); err != nil {
		t.Fatal(err)
	}
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// TestMirrorSearchesInHostLocalsOrder has the reference's order as its truth:
// one address after the other from the last one on, through all the ranges and
// round, without the gateways.
func TestMirrorSearchesInHostLocalsOrder(t *testing.T) {
	sets, err := ipam.CanonicalSets([]ipam.Set{{
		{Subnet: netip.MustParsePrefix("10.1.0.0/29")},
		{Subnet: netip.MustParsePrefix("10.2.0.0/24"), Start: addr("10.2.0.7"), End: addr("10.2.0.9"), Gateway: addr("10.2.0.8")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, last string
		want       string
	}{
		{"no cursor", "", "[10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.2.0.7 10.2.0.9]"},
		{"in the middle", "10.1.0.4", "[10.1.0.5 10.1.0.6 10.2.0.7 10.2.0.9 10.1.0.2 10.1.0.3 10.1.0.4]"},
		{"end of a range", "10.1.0.6", "[10.2.0.7 10.2.0.9 10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6]"},
		{"second range", "10.2.0.7", "[10.2.0.9 10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.2.0.7]"},
		{"end of the set", "10.2.0.9", "[10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.2.0.7 10.2.0.9]"},
		{"outside", "10.9.0.1", "[10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.2.0.7 10.2.0.9]"},
		{"other family", "fd00::1", "[10.1.0.2 10.1.0.3 10.1.0.4 10.1.0.5 10.1.0.6 10.2.0.7 10.2.0.9]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var last netip.Addr
			if tt.last != "" {
				last = addr(tt.last)
			}
			var got []netip.Addr
			mirrored(t, open(t), func(m ledger.Mirror) error {
				for {
					a, _, err := m.Next(sets[0], last)
					var exhausted *ledger.ExhaustedError
					if errors.As(err, &exhausted) {
						return nil
					}
					got = append(got, a)
					if err := m.Take(key(len(got)), a); err != nil {
						return err
					}
				}
			})
			if fmt.Sprint(got) != tt.want {
				t.Errorf("got  %v\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMirrorBeginsAtTheRangesStart, which is not the gateway here.
func TestMirrorBeginsAtTheRangesStart(t *testing.T) {
	from := ipam.Set{{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Start: addr("10.1.0.7"), End: addr("10.1.0.9"), Gateway: addr("10.1.0.1")}}
	mirrored(t, open(t), func(m ledger.Mirror) error {
		if a, _, err := m.Next(from, netip.Addr{}); err != nil || a != addr("10.1.0.7") {
			t.Errorf("got %s, %v", a, err)
		}
		return nil
	})
}

func TestMirrorSyncIsWhatTheDirectorySays(t *testing.T) {
	l := open(t)
	manual, old := ledger.Key{Network: "net"}, ledger.Key{Network: "net", Container: "old"}
	for step, now := range []map[netip.Addr]ledger.Key{
		{addr("10.1.0.2"): key(1), addr("10.1.0.3"): manual, addr("fd00::2"): key(1), addr("10.1.0.9"): old},
		{addr("10.1.0.2"): key(2), addr("10.1.0.3"): manual, addr("10.1.0.4"): manual},
		{},
	} {
		mirrored(t, l, func(m ledger.Mirror) error { return m.Sync(now) })
		mirrored(t, l, func(m ledger.Mirror) error {
			if got := m.All(); fmt.Sprint(got) != fmt.Sprint(now) {
				t.Errorf("step %d: got %v, want %v", step, got, now)
			}
			for _, k := range []ledger.Key{key(1), key(2), old, manual} {
				want := 0
				for _, holder := range now {
					if holder == k {
						want++
					}
				}
				if held := m.Held(k.Container, k.IfName); len(held) != want {
					t.Errorf("step %d: %s holds %v, want %d", step, k, held, want)
				}
			}
			return nil
		})
	}
}

func TestMirrorKeepsItsStamp(t *testing.T) {
	l, stamp := open(t), time.Unix(1, 123456789)
	mirrored(t, l, func(m ledger.Mirror) error {
		if !m.Stamp().IsZero() {
			t.Errorf("a new copy has stamp %s", m.Stamp())
		}
		return m.SetStamp(stamp)
	})
	mirrored(t, l, func(m ledger.Mirror) error {
		if !m.Stamp().Equal(stamp) {
			t.Errorf("got %s, want %s", m.Stamp(), stamp)
		}
		return m.SetStamp(time.Time{})
	})
	mirrored(t, l, func(m ledger.Mirror) error {
		if !m.Stamp().IsZero() {
			t.Errorf("stamp %s after it was taken back", m.Stamp())
		}
		return nil
	})
}

// TestMirrorAndRecordsShareTheNetwork has a network whose configuration changed
// from one kind of IPAM to the other while containers live.
func TestMirrorAndRecordsShareTheNetwork(t *testing.T) {
	l, from := open(t), set(t, "10.1.0.0/29")
	first, err := take(l, key(1), from)
	if err != nil {
		t.Fatal(err)
	}
	var second netip.Addr
	mirrored(t, l, func(m ledger.Mirror) (err error) {
		if second, _, err = m.Next(from, netip.Addr{}); err != nil || second == first {
			t.Fatalf("host-local gets %s, %v; a record holds %s", second, err, first)
		}
		return m.Take(key(2), second)
	})
	if third, err := take(l, key(3), from); err != nil || third == second {
		t.Fatalf("the ledger's own gets %s, %v; a file holds %s", third, err, second)
	}
	// A file for an address that a record holds changes nothing for the record.
	for _, k := range []ledger.Key{key(9), key(1)} {
		mirrored(t, l, func(m ledger.Mirror) error { return m.Take(k, first) })
		mirrored(t, l, func(m ledger.Mirror) error { return m.Drop(k, first) })
	}
	err = l.View(func(tx *ledger.Tx) error {
		if holder, ok := tx.Holder("net", first); !ok || holder != key(1) {
			t.Errorf("%s is held by %v, %t", first, holder, ok)
		}
		if r, _, err := tx.Attachment(key(1)); err != nil || len(r.Addresses) != 1 {
			t.Errorf("record: %+v, %v", r, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFileThatHasGoneTakesTheNamesAlong is a reference DEL behind our back,
// with and without an ADD that got the same address.
func TestAFileThatHasGoneTakesTheNamesAlong(t *testing.T) {
	t.Run("free", func(t *testing.T) { testReleasedBehind(t, nil) })
	t.Run("given to another", func(t *testing.T) { testReleasedBehind(t, map[netip.Addr]ledger.Key{addr("10.1.0.2"): key(2)}) })
}

func testReleasedBehind(t *testing.T, now map[netip.Addr]ledger.Key) {
	l, a := open(t), addr("10.1.0.2")
	port := ledger.Port{Protocol: "tcp", HostPort: 8080, Container: 80}
	mirrored(t, l, func(m ledger.Mirror) error { return m.Take(key(1), a) })
	err := l.Update(func(tx *ledger.Tx) error {
		return tx.Put(ledger.Record{
			Key: key(1), Foreign: true, Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, 24)}},
			Names: ledger.Names{Own: []string{"web"}, Device: "br0"}, Ports: []ledger.Port{port},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	mirrored(t, l, func(m ledger.Mirror) error { return m.Sync(now) })
	err = l.View(func(tx *ledger.Tx) error {
		r, found, err := tx.Attachment(key(1))
		if !found || len(r.Addresses) != 0 || !r.Names.IsZero() || len(r.Ports) != 1 {
			t.Errorf("record: %+v, %t", r, found)
		}
		if holder, _ := tx.Holder("net", a); holder != now[a] {
			t.Errorf("%s is held by %v", a, holder)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAForeignRecordHoldsNothing(t *testing.T) {
	l, a := open(t), addr("10.1.0.2")
	put := func(r ledger.Record) {
		t.Helper()
		r.Addresses = []ledger.Address{{Prefix: netip.PrefixFrom(a, 24)}}
		if err := l.Update(func(tx *ledger.Tx) error { return tx.Put(r) }); err != nil {
			t.Fatal(err)
		}
	}
	put(ledger.Record{Key: key(1), Foreign: true})
	put(ledger.Record{Key: key(2), Foreign: true})
	put(ledger.Record{Key: key(3)})
	release(t, l, key(1))
	if err := l.View(func(tx *ledger.Tx) error {
		if holder, ok := tx.Holder("net", a); !ok || holder != key(3) {
			t.Errorf("held by %v, %t", holder, ok)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkMirrorSync(b *testing.B) {
	now := map[netip.Addr]ledger.Key{}
	a := addr("10.1.0.2")
	for i := range 65000 {
		now[a] = ledger.Key{Network: "net", Container: fmt.Sprintf("%064x", i*7919), IfName: "eth0"}
		a = a.Next()
	}
	for b.Loop() {
		l := open(b)
		mirrored(b, l, func(m ledger.Mirror) error { return m.Sync(now) })
	}
}
