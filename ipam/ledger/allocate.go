package ledger

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/netctl/netctl/ipam"
)

// Addresses are marked in bitmaps of 4096 bits, at fixed places of the address
// space, so that a changed range or subnet needs no rewriting, and a full /16
// costs sixteen look-ups in the worst case.
const (
	chunkBits = 4096
	chunkSize = chunkBits / 8
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
		addr, ok := t.firstFree(network, r, after.Next(), r.End)
		if !ok {
			addr, ok = t.firstFree(network, r, r.Start, after)
		}
		if ok {
			return addr, r, nil
		}
	}
	return netip.Addr{}, ipam.Range{}, &ExhaustedError{Network: network, Set: set, Used: t.used(network, set)}
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

// firstFree looks through the bitmaps from one address to another, inclusive.
func (t *Tx) firstFree(network string, r ipam.Range, from, to netip.Addr) (netip.Addr, bool) {
	for from.IsValid() && to.IsValid() && !to.Less(from) {
		start, offset := chunkOf(from)
		last := chunkBits - 1
		if toStart, toOffset := chunkOf(to); toStart == start {
			last = toOffset
		}
		chunk := t.chunk(network, start)
		for bit := nextZero(chunk, offset, last); bit >= 0; bit = nextZero(chunk, bit+1, last) {
			if a := addressIn(start, bit, from.Is4()); r.Contains(a) {
				return a, true
			}
		}
		from = addressIn(start, chunkBits-1, from.Is4()).Next()
	}
	return netip.Addr{}, false
}

func (t *Tx) chunk(network string, start [16]byte) []byte {
	return t.get(bucketBitmaps, chunkKey(network, start))
}

func chunkKey(network string, start [16]byte) []byte {
	return append(append([]byte(network), 0), start[:]...)
}

// nextZero gives the first clear bit from first to last, or -1. A nil chunk has
// no bit set.
func nextZero(chunk []byte, first, last int) int {
	if first > last {
		return -1
	}
	if chunk == nil {
		return first
	}
	for i := first / 8; i <= last/8; i++ {
		free := ^chunk[i]
		if i == first/8 {
			free &= 0xff << (first % 8)
		}
		if free != 0 {
			if bit := i*8 + bits.TrailingZeros8(free); bit <= last {
				return bit
			}
			return -1
		}
	}
	return -1
}

// chunkOf splits an address into the start of its chunk and the bit in it.
func chunkOf(a netip.Addr) ([16]byte, int) {
	b := a.As16()
	low := binary.BigEndian.Uint16(b[14:])
	binary.BigEndian.PutUint16(b[14:], low&^(chunkBits-1))
	return b, int(low & (chunkBits - 1))
}

func addressIn(start [16]byte, bit int, is4 bool) netip.Addr {
	binary.BigEndian.PutUint16(start[14:], binary.BigEndian.Uint16(start[14:])|uint16(bit))
	a := netip.AddrFrom16(start)
	if is4 {
		return a.Unmap()
	}
	return a
}

func (t *Tx) takeAddress(k Key, a netip.Addr) error {
	if holder, taken := t.Holder(k.Network, a); taken {
		return &TakenError{What: "address " + a.String(), Holder: holder}
	}
	if err := t.put(bucketAddresses, addressKey(k.Network, a), k.bytes()); err != nil {
		return err
	}
	return t.mark(k.Network, a, true)
}

func (t *Tx) freeAddress(k Key, a netip.Addr) error {
	if holder, taken := t.Holder(k.Network, a); !taken || holder != k {
		return nil
	}
	if err := t.remove(bucketAddresses, addressKey(k.Network, a)); err != nil {
		return err
	}
	if err := t.spend(k.Network, a); err != nil {
		return err
	}
	return t.mark(k.Network, a, false)
}

// Fresh tells whether nobody has had the address since the host was started, so
// that nobody can remember where it was.
func (t *Tx) Fresh(network string, a netip.Addr) bool {
	start, bit := chunkOf(a)
	chunk := t.get(bucketSpent, chunkKey(network, start))
	return chunk == nil || chunk[bit/8]&(1<<(bit%8)) == 0
}

// spend notes that somebody has had the address.
func (t *Tx) spend(network string, a netip.Addr) error {
	if !t.Fresh(network, a) {
		return nil
	}
	start, bit := chunkOf(a)
	chunk := make([]byte, chunkSize)
	copy(chunk, t.get(bucketSpent, chunkKey(network, start)))
	chunk[bit/8] |= 1 << (bit % 8)
	return t.put(bucketSpent, chunkKey(network, start), chunk)
}

// mark sets or clears the bit of an address; an empty chunk is dropped.
func (t *Tx) mark(network string, a netip.Addr, taken bool) error {
	start, bit := chunkOf(a)
	key := chunkKey(network, start)
	chunk := make([]byte, chunkSize)
	copy(chunk, t.get(bucketBitmaps, key))
	if taken {
		chunk[bit/8] |= 1 << (bit % 8)
	} else {
		chunk[bit/8] &^= 1 << (bit % 8)
	}
	if nextZero(chunk, 0, chunkBits-1) == 0 && popcount(chunk) == 0 {
		return t.remove(bucketBitmaps, key)
	}
	return t.put(bucketBitmaps, key, chunk)
}

// used counts the reserved addresses of a network that lie in the set.
func (t *Tx) used(network string, set ipam.Set) int {
	count := 0
	prefix := append([]byte(network), 0)
	_ = t.scan(bucketAddresses, prefix, func(key, _ []byte) error {
		a := netip.AddrFrom16([16]byte(key[len(prefix):])).Unmap()
		for _, r := range set {
			if r.Within(a) {
				count++
			}
		}
		return nil
	})
	return count
}

func popcount(chunk []byte) int {
	n := 0
	for i := 0; i < len(chunk); i += 8 {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(chunk[i:]))
	}
	return n
}

func cursorKey(network string, r ipam.Range) []byte {
	start, end := r.Start.As16(), r.End.As16()
	return append(append(append([]byte(network), 0), start[:]...), end[:]...)
}
