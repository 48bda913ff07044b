package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
)

// A model is what a network's ledger should say: who holds which address, by a
// record or by a file, and which addresses have ever been given back.
type model struct {
	from    ipam.Set
	records map[ledger.Key]netip.Addr
	files   map[netip.Addr]ledger.Key
	spent   map[netip.Addr]bool
	// changed are the keys in the order of the changes.
	changed []ledger.Key
}

func (m *model) holder(a netip.Addr) ledger.Key {
	for k, held := range m.records {
		if held == a {
			return k
		}
	}
	return m.files[a]
}

func (m *model) free() (n int) {
	for a := m.from[0].Start; !m.from[0].End.Less(a); a = a.Next() {
		if m.from[0].Contains(a) && m.holder(a) == (ledger.Key{}) {
			n++
		}
	}
	return n
}

// TestTheLedgerIsItsModel does random things in a small pool, which is full most
// of the time, and compares all the ledger says with a model.
func TestTheLedgerIsItsModel(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			l := open(t)
			m := model{from: set(t, "10.1.0.0/27"), records: map[ledger.Key]netip.Addr{}, files: map[netip.Addr]ledger.Key{}, spent: map[netip.Addr]bool{}}
			start := uint64(0)
			for step := range 80 {
				err := l.Update(func(tx *ledger.Tx) error {
					for range 1 + random.IntN(3) {
						if err := m.step(tx, random); err != nil {
							return err
						}
					}
					return nil
				})
				if err == nil && start == 0 {
					start, err = l.Generation()
					start -= uint64(len(m.changed))
				}
				if err == nil {
					err = m.check(l, start, random)
				}
				if err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
			}
		})
	}
}

// step does one thing to both.
func (m *model) step(tx *ledger.Tx, random *rand.Rand) error {
	k, mirror := key(random.IntN(40)), tx.Mirror("net", directory)
	wanted := m.from[0].Start
	for range random.IntN(30) {
		wanted = wanted.Next()
	}
	switch random.IntN(6) {
	case 0, 1:
		return m.allocate(tx, k)
	case 2:
		return m.put(tx, k, wanted)
	case 3:
		_, found, err := tx.Delete(k)
		if had, ok := m.records[k]; ok != found {
			return fmt.Errorf("delete %s: found %t, want %t", k, found, ok)
		} else if ok {
			m.spent[had] = true
			delete(m.records, k)
			m.changed = append(m.changed, k)
		}
		return err
	case 4:
		if m.holder(wanted) != (ledger.Key{}) {
			return nil
		}
		m.files[wanted] = k
		return mirror.Take(k, wanted)
	default:
		owner, found := m.files[wanted]
		if !found {
			return nil
		}
		delete(m.files, wanted)
		m.spent[wanted] = true
		return mirror.Drop(owner, wanted)
	}
}

// allocate gives k another address; what it had stays taken meanwhile.
func (m *model) allocate(tx *ledger.Tx, k ledger.Key) error {
	free := m.free()
	a, _, err := tx.Allocate("net", m.from)
	var full *ledger.ExhaustedError
	switch {
	case errors.As(err, &full) && free == 0:
		if used := len(m.records) + len(m.files); full.Used != used {
			return fmt.Errorf("%w: want %d", err, used)
		}
		return nil
	case err != nil:
		return fmt.Errorf("%w: %d are free", err, free)
	case m.holder(a) != ledger.Key{}:
		return fmt.Errorf("%s is given out, and %v has it", a, m.holder(a))
	}
	return m.put(tx, k, a)
}

// put enters a record with an address that may be somebody's.
func (m *model) put(tx *ledger.Tx, k ledger.Key, a netip.Addr) error {
	before, had := m.records[k]
	holder := m.holder(a)
	if holder != (ledger.Key{}) && !(had && before == a) {
		// What failed is forgotten with its transaction, so it is only asked about.
		if got, taken := tx.Holder("net", a); !taken || got != holder {
			return fmt.Errorf("%s is held by %v, %t; want %v", a, got, taken, holder)
		}
		return nil
	}
	if had {
		m.spent[before] = true
	}
	m.records[k] = a
	m.changed = append(m.changed, k)
	return tx.Put(ledger.Record{Key: k, Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(a, 27)}}})
}

// check compares all addresses, the mirror, and what a reader is told who has
// seen some of the changes.
func (m *model) check(l *ledger.Ledger, start uint64, random *rand.Rand) error {
	err := l.View(func(tx *ledger.Tx) error {
		for a := m.from[0].Start; !m.from[0].End.Less(a); a = a.Next() {
			if holder, taken := tx.Holder("net", a); holder != m.holder(a) || taken != (holder != ledger.Key{}) {
				return fmt.Errorf("%s is held by %v, %t; want %v", a, holder, taken, m.holder(a))
			}
			if tx.Fresh("net", a) == m.spent[a] {
				return fmt.Errorf("%s: fresh is %t", a, !m.spent[a])
			}
		}
		if all := tx.Mirror("net", directory).All(); fmt.Sprint(all) != fmt.Sprint(m.files) {
			return fmt.Errorf("files %v, want %v", all, m.files)
		}
		return nil
	})
	if err != nil || len(m.changed) == 0 {
		return err
	}
	seen := random.IntN(len(m.changed))
	d, err := l.Changes(start + uint64(seen))
	told := map[ledger.Key]bool{}
	for _, r := range d.Changed {
		told[r.Key] = true
	}
	for _, k := range d.Gone {
		told[k] = true
	}
	want := map[ledger.Key]bool{}
	for _, k := range m.changed[seen:] {
		want[k] = true
	}
	if err == nil && (d.Full || fmt.Sprint(told) != fmt.Sprint(want)) {
		err = fmt.Errorf("after %d of %d changes told %v (full %t), want %v", seen, len(m.changed), told, d.Full, want)
	}
	return err
}
