package ledger

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/ipam"
)

// A Mirror is the ledger's copy of a directory in which somebody else's plugin
// keeps one file for each reserved address (host-local): who holds what, and
// which address is free, without reading the directory. The directory stays the
// truth; its Stamp tells whether the copy is current.
//
// Mirrored addresses are marked like those of the network's attachments, so
// that neither side gives out what the other has.
type Mirror struct {
	t       *Tx
	network string
	dir     string
}

// Mirror gives the copy of the directory that belongs to a network.
func (t *Tx) Mirror(network, dir string) Mirror { return Mirror{t, network, dir} }

// Mirrored gives the directories of a network of which there is a copy: those
// that are called like it.
func (t *Tx) Mirrored(network string) []string {
	var dirs []string
	for key := range t.from(bucketStamps, nil) {
		if dir := string(key); filepath.Base(dir) == network {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Stamp is the modification time that the directory had when the copy was
// current. It is the zero time if there never was one.
func (m Mirror) Stamp() time.Time {
	value := m.t.get(bucketStamps, []byte(m.dir))
	if len(value) != 8 {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(value)))
}

// SetStamp says that the copy is current as of the stamp; the zero time says
// that it can't be known.
func (m Mirror) SetStamp(stamp time.Time) error {
	if stamp.IsZero() {
		return m.t.remove(bucketStamps, []byte(m.dir))
	}
	return m.t.put(bucketStamps, []byte(m.dir), binary.BigEndian.AppendUint64(nil, uint64(stamp.UnixNano())))
}

// All tells who holds which address. A manual reservation has no container, one
// of host-local's old format no interface name.
func (m Mirror) All() map[netip.Addr]Key {
	all := map[netip.Addr]Key{}
	m.scan("", func(k Key, a netip.Addr) { all[a] = k })
	return all
}

// Held gives the addresses of a container's interface.
func (m Mirror) Held(container, ifname string) []netip.Addr {
	var held []netip.Addr
	m.scan(container+"\x00"+ifname+"\x00", func(_ Key, a netip.Addr) { held = append(held, a) })
	return held
}

// Of gives all addresses of a container, each with its interface.
func (m Mirror) Of(container string) map[netip.Addr]string {
	held := map[netip.Addr]string{}
	m.scan(container+"\x00", func(k Key, a netip.Addr) { held[a] = k.IfName })
	return held
}

func (m Mirror) scan(under string, fn func(Key, netip.Addr)) {
	start := m.dir + "\x00"
	_ = m.t.scan(bucketHolders, []byte(start+under), func(key, _ []byte) error {
		if _, k, a, ok := parseHolder(key); ok {
			k.Network = m.network
			fn(k, a)
		}
		return nil
	})
}

// parseHolder takes a key of the bucket of holders apart. The key of the
// attachment has no network.
func parseHolder(key []byte) (dir string, k Key, a netip.Addr, ok bool) {
	at := len(key) - 17 // \0 and the address, which may contain \0
	part := strings.SplitN(string(key[:max(at, 0)]), "\x00", 3)
	if len(part) != 3 {
		return "", Key{}, netip.Addr{}, false
	}
	return part[0], Key{Container: part[1], IfName: part[2]}, netip.AddrFrom16([16]byte(key[at+1:])).Unmap(), true
}

// Next finds a free address behind the one given out last, in host-local's
// order: on through the set's ranges and round to where it began. The error is
// an *ExhaustedError if there is none.
func (m Mirror) Next(set ipam.Set, last netip.Addr) (netip.Addr, ipam.Range, error) {
	for _, part := range sweep(set, last) {
		if a, ok, err := m.t.firstFree(m.network, part); ok || err != nil {
			return a, part.Range, err
		}
	}
	return netip.Addr{}, ipam.Range{}, m.t.exhausted(m.network, set)
}

// sweep is the order in which a set is searched. An address that is in none of
// its ranges counts for nothing: the ranges have been changed since.
func sweep(set ipam.Set, last netip.Addr) []stretch {
	at := slices.IndexFunc(set, func(r ipam.Range) bool { return r.Within(last) })
	if at < 0 {
		at, last = 0, set[0].Start.Prev()
	}
	first := set[at]
	parts := []stretch{{first, last.Next(), first.End}}
	for i := 1; i < len(set); i++ {
		r := set[(at+i)%len(set)]
		parts = append(parts, stretch{r, r.Start, r.End})
	}
	return append(parts, stretch{first, first.Start, last})
}

// What is in the bucket of holders for a file: nothing where the address is
// held by it, and shadowed where an attachment's record has the address already.
var (
	holding  = []byte{}
	shadowed = []byte{1}
)

// Take enters that k holds the address, unless an attachment's record has it
// already: then the network has two kinds of IPAM, and the record keeps it.
func (m Mirror) Take(k Key, a netip.Addr) error {
	state, err := m.takeAddress(k, a)
	if err != nil {
		return err
	}
	return m.t.put(bucketHolders, m.key(k, a), state)
}

// takeAddress marks the address, and tells what to enter for it.
func (m Mirror) takeAddress(k Key, a netip.Addr) (state []byte, err error) {
	if free, err := m.t.mark(m.network, a); free || err != nil {
		return holding, err
	}
	holder, taken := m.t.Holder(m.network, a)
	if !taken {
		return holding, nil // marked, and nobody's
	}
	before := m.t.get(bucketHolders, m.key(holder, a))
	if before == nil || len(before) > 0 {
		return shadowed, nil
	}
	return holding, m.t.remove(bucketHolders, m.key(holder, a))
}

// Drop enters that k no longer holds the address. If an attachment's record
// says that it has it, somebody else has taken the attachment away: its names
// must not lead to whoever gets the address next. The record itself stays for
// what else there is to undo.
func (m Mirror) Drop(k Key, a netip.Addr) error {
	state := m.t.get(bucketHolders, m.key(k, a))
	held := state != nil && len(state) == 0
	if err := m.t.remove(bucketHolders, m.key(k, a)); err != nil {
		return err
	}
	r, found, err := m.t.Attachment(k)
	if err != nil {
		return err
	}
	if found && r.Foreign && r.has(a) {
		if err := m.t.Put(r.without(a)); err != nil {
			return err
		}
	}
	if !held {
		return nil
	}
	return m.t.unmark(m.network, a)
}

func (r Record) has(a netip.Addr) bool {
	return slices.ContainsFunc(r.Addresses, func(have Address) bool { return have.Prefix.Addr() == a })
}

func (r Record) without(a netip.Addr) Record {
	r.Addresses = slices.DeleteFunc(slices.Clone(r.Addresses), func(have Address) bool { return have.Prefix.Addr() == a })
	if len(r.Addresses) == 0 {
		r.Names = Names{}
	}
	return r
}

// Sync makes the copy say what is in the directory now.
func (m Mirror) Sync(now map[netip.Addr]Key) error {
	known := m.All()
	for a, k := range known {
		if now[a] != k {
			if err := m.Drop(k, a); err != nil {
				return err
			}
		}
	}
	fresh := maps.Clone(now)
	maps.DeleteFunc(fresh, func(a netip.Addr, k Key) bool { return known[a] == k })
	return m.takeAll(fresh)
}

// takeAll enters many reservations, each bucket in the order of its keys: in a
// transaction bbolt collects what it inserts in one sorted slice, so that any
// other order costs the square of their number.
func (m Mirror) takeAll(fresh map[netip.Addr]Key) error {
	states := make(map[string][]byte, len(fresh))
	for _, a := range slices.SortedFunc(maps.Keys(fresh), netip.Addr.Compare) {
		state, err := m.takeAddress(fresh[a], a)
		if err != nil {
			return err
		}
		states[string(m.key(fresh[a], a))] = state
	}
	for _, key := range slices.Sorted(maps.Keys(states)) {
		if err := m.t.put(bucketHolders, []byte(key), states[key]); err != nil {
			return err
		}
	}
	return nil
}

func (m Mirror) key(k Key, a netip.Addr) []byte {
	b := a.As16()
	return append([]byte(m.dir+"\x00"+k.Container+"\x00"+k.IfName+"\x00"), b[:]...)
}
