package ledger

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/netctl/netctl/ipam"
)

// An ExhaustedError says that a set of ranges has no free address.
type ExhaustedError struct {
	Network string
	Set     ipam.Set
	Used    int
}

func (e *ExhaustedError) Error() string {
	text := ""
	for i, r := range e.Set {
		if i > 0 {
			text += ", "
		}
		text += r.String()
	}
	return fmt.Sprintf("no free address in %s (%s: %d in use)", e.Network, text, e.Used)
}

// Allocate finds a free address in the set, after the one given out last, so
// that an address comes back into use as late as possible. It is reserved by
// Put. The error is an *ExhaustedError if there is none.
func (t *Tx) Allocate(network string, set ipam.Set) (netip.Addr, ipam.Range, error) {
	addr, r, err := t.next(network, set)
	if err != nil {
		return addr, r, err
	}
	b := addr.As16()
	return addr, r, t.put(bucketCursors, cursorKey(network, r), b[:])
}

// Room returns nil if Allocate would find an address, and its error otherwise.
func (t *Tx) Room(network string, set ipam.Set) error {
	_, _, err := t.next(network, set)
	return err
}

func (t *Tx) next(network string, set ipam.Set) (netip.Addr, ipam.Range, error) {
	for _, r := range set {
		after := t.cursor(network, r)
		for _, part := range []stretch{{r, after.Next(), r.End}, {r, r.Start, after}} {
			if a, ok, err := t.firstFree(network, part); ok || err != nil {
				return a, r, err
			}
		}
	}
	return netip.Addr{}, ipam.Range{}, t.exhausted(network, set)
}

func (t *Tx) exhausted(network string, set ipam.Set) error {
	used, err := t.used(network, set)
	if err != nil {
		return err
	}
	return &ExhaustedError{Network: network, Set: set, Used: used}
}

// cursor gives the address given out last, or the one before the range's first.
func (t *Tx) cursor(network string, r ipam.Range) netip.Addr {
	value := t.get(bucketCursors, cursorKey(network, r))
	if len(value) == 16 {
		if a := netip.AddrFrom16([16]byte(value)).Unmap(); r.Within(a) {
			return a
		}
	}
	return r.Start.Prev()
}

// A stretch is a part of a range, from one address to another, inclusive.
type stretch struct {
	ipam.Range
	from, to netip.Addr
}

// firstFree looks through the chunks of a stretch.
func (t *Tx) firstFree(network string, s stretch) (netip.Addr, bool, error) {
	from, to := s.from, s.to
	for from.IsValid() && to.IsValid() && !to.Less(from) {
		start, offset := chunkOf(from)
		last := chunkBits - 1
		if toStart, toOffset := chunkOf(to); toStart == start {
			last = toOffset
		}
		c, err := t.chunk(network, start)
		if err != nil {
			return netip.Addr{}, false, err
		}
		for bit := c.taken.nextZero(offset, last); bit >= 0; bit = c.taken.nextZero(bit+1, last) {
			if a := addressIn(start, bit, from.Is4()); s.Contains(a) {
				return a, true, nil
			}
		}
		from = addressIn(start, chunkBits-1, from.Is4()).Next()
	}
	return netip.Addr{}, false, nil
}

func (t *Tx) takeAddress(k Key, a netip.Addr) error {
	free, err := t.mark(k.Network, a)
	if free || err != nil {
		return err
	}
	if holder, taken := t.Holder(k.Network, a); taken {
		return &TakenError{What: "address " + a.String(), Holder: holder}
	}
	return nil // marked, and nobody's
}

// Holder tells which attachment of the network has the address, or who has it
// by a mirrored file. That nobody has it is known at once; who has it is looked
// for among all of the network (some 20 ms among 65,000). That is for an error
// or an oddity, and saves every ADD and DEL the upkeep of an index.
func (t *Tx) Holder(network string, a netip.Addr) (Key, bool) {
	if c, bit, err := t.known(network, a); err != nil || !c.taken.has(bit) {
		return Key{}, false // what is damaged is reported by whoever writes there
	}
	if k, found := t.recorded(network, a); found {
		return k, true
	}
	return t.mirrored(network, a)
}

// recorded looks for the record that holds the address.
func (t *Tx) recorded(network string, a netip.Addr) (holder Key, found bool) {
	prefix := append([]byte(network), 0)
	text := []byte(`"` + a.Unmap().String() + "/") // as the record has it: few need to be decoded
	for key, data := range t.from(bucketAttachments, prefix) {
		if !bytes.HasPrefix(key, prefix) {
			break
		}
		if !bytes.Contains(data, text) {
			continue
		}
		if r, err := decode(data); err == nil && !r.Foreign && r.has(a) {
			return r.Key, true
		}
	}
	return Key{}, false
}

// mirrored looks for the file by which somebody has the address.
func (t *Tx) mirrored(network string, a netip.Addr) (holder Key, found bool) {
	b := a.As16()
	for key, value := range t.from(bucketHolders, nil) {
		if !bytes.HasSuffix(key, b[:]) || len(value) > 0 {
			continue
		}
		if dir, k, of, ok := parseHolder(key); ok && of == a.Unmap() && filepath.Base(dir) == network {
			k.Network = network
			return k, true
		}
	}
	return Key{}, false
}

// Fresh tells whether nobody has had the address since the host was started, so
// that nobody can remember where it was.
func (t *Tx) Fresh(network string, a netip.Addr) bool {
	c, bit, err := t.known(network, a)
	return err == nil && !c.spent.has(bit)
}

// used counts the reserved addresses of a network that lie in the set.
func (t *Tx) used(network string, set ipam.Set) (int, error) {
	count := 0
	for _, r := range set {
		from, first := chunkOf(r.Start)
		to, last := chunkOf(r.End)
		end := chunkKey(network, to)
		for key, data := range t.from(bucketChunks, chunkKey(network, from)) {
			if bytes.Compare(key, end) > 0 {
				break
			}
			c, err := decodeChunk(data)
			if err != nil {
				return 0, err
			}
			low, high := 0, chunkBits-1
			if bytes.HasSuffix(key, from[:]) {
				low = first
			}
			if bytes.Equal(key, end) {
				high = last
			}
			count += c.taken.count(low, high)
		}
	}
	return count, nil
}

func cursorKey(network string, r ipam.Range) []byte {
	start, end := r.Start.As16(), r.End.As16()
	return append(append(append([]byte(network), 0), start[:]...), end[:]...)
}
