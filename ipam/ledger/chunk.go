package ledger

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
)

// Addresses are marked in chunks of 4096, at fixed places of the address
// space, so that a changed range or subnet needs no rewriting, and a full /16
// costs sixteen look-ups in the worst case.
const (
	chunkBits = 4096
	chunkSize = chunkBits / 8
)

// A chunk is what is known of the addresses in it: which somebody has, and
// which somebody has had since the host was started.
type chunk struct{ taken, spent bitmap }

// A bitmap has a bit for each address of a chunk, the lowest bit of the first
// byte for the first address.
type bitmap [chunkSize]byte

var errChunk = errors.New("the marks of addresses are damaged")

func (b *bitmap) has(bit int) bool { return b[bit/8]&(1<<(bit%8)) != 0 }
func (b *bitmap) set(bit int)      { b[bit/8] |= 1 << (bit % 8) }
func (b *bitmap) clear(bit int)    { b[bit/8] &^= 1 << (bit % 8) }

// nextZero gives the first clear bit from first to last, or -1.
func (b *bitmap) nextZero(first, last int) int {
	for i := first / 8; i <= last/8 && first <= last; i++ {
		free := ^b[i]
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

// count gives the number of bits that are set from first to last.
func (b *bitmap) count(first, last int) int {
	n := 0
	for i := first / 8; i <= last/8; i++ {
		part := b[i]
		if i == first/8 {
			part &= 0xff << (first % 8)
		}
		if i == last/8 {
			part &= 0xff >> (7 - last%8)
		}
		n += bits.OnesCount8(part)
	}
	return n
}

// encode gives the chunk as it is in the file: first taken, then spent, each as
// runs. A run begins with a number (uvarint), twice its length in bytes; plus
// one if all its bytes are the same, and then that byte follows once, else all
// of them do. Pools are full from one end, or nearly empty: their chunks are a
// dozen bytes in place of a thousand, so that those of a /16 fit on a page that
// has to be written anyway.
func (c *chunk) encode() []byte {
	return c.spent.appendRuns(c.taken.appendRuns(make([]byte, 0, 32)))
}

// shortRun is the length at which a run of equal bytes gets a head of its own.
const shortRun = 4

func (b *bitmap) appendRuns(data []byte) []byte {
	mixed := 0 // where the bytes that are in no run begin
	for i := 0; i < len(b); {
		end := b.equalUntil(i)
		if end-i >= shortRun {
			data = appendMixed(data, b[mixed:i])
			data = append(binary.AppendUvarint(data, uint64(end-i)<<1|1), b[i])
			mixed = end
		}
		i = end
	}
	return appendMixed(data, b[mixed:])
}

// equalUntil tells where the run of bytes equal to the one at i ends.
func (b *bitmap) equalUntil(i int) (end int) {
	eight := uint64(b[i]) * 0x0101010101010101
	for end = i + 1; end+8 <= len(b) && binary.NativeEndian.Uint64(b[end:]) == eight; {
		end += 8
	}
	for end < len(b) && b[end] == b[i] {
		end++
	}
	return end
}

func appendMixed(data, bytes []byte) []byte {
	if len(bytes) == 0 {
		return data
	}
	return append(binary.AppendUvarint(data, uint64(len(bytes))<<1), bytes...)
}

// decodeChunk is the reverse of encode. Where nothing is stored nobody has had an
// address.
func decodeChunk(data []byte) (c chunk, err error) {
	if data == nil {
		return c, nil
	}
	if data, err = c.taken.readRuns(data); err == nil {
		data, err = c.spent.readRuns(data)
	}
	if err == nil && len(data) > 0 {
		err = errChunk
	}
	return c, err
}

func (b *bitmap) readRuns(data []byte) (rest []byte, err error) {
	for at := 0; at < len(b); {
		head, n := binary.Uvarint(data)
		length := int(min(head>>1, chunkSize+1))
		stored := length
		if head&1 != 0 {
			stored = 1
		}
		if n <= 0 || length == 0 || length > len(b)-at || stored > len(data)-n {
			return nil, errChunk
		}
		data = data[n:]
		copy(b[at:], data[:stored])
		for done := stored; done < length; done *= 2 { // a run of one byte
			copy(b[at+done:at+length], b[at:at+done])
		}
		data, at = data[stored:], at+length
	}
	return data, nil
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

func chunkKey(network string, start [16]byte) []byte {
	return append(append([]byte(network), 0), start[:]...)
}

// chunk gives what is known of the addresses from start on.
func (t *Tx) chunk(network string, start [16]byte) (chunk, error) {
	return decodeChunk(t.get(bucketChunks, chunkKey(network, start)))
}

// known gives the chunk of an address and its bit in there.
func (t *Tx) known(network string, a netip.Addr) (c chunk, bit int, err error) {
	start, bit := chunkOf(a)
	c, err = t.chunk(network, start)
	return c, bit, err
}

// mark notes that somebody has the address, and tells whether it was free.
func (t *Tx) mark(network string, a netip.Addr) (free bool, err error) {
	c, bit, err := t.known(network, a)
	if err != nil || c.taken.has(bit) {
		return false, err
	}
	c.taken.set(bit)
	return true, t.putChunk(network, a, &c)
}

// unmark notes that the address was given back.
func (t *Tx) unmark(network string, a netip.Addr) error {
	c, bit, err := t.known(network, a)
	if err != nil {
		return err
	}
	c.taken.clear(bit)
	c.spent.set(bit)
	return t.putChunk(network, a, &c)
}

// putChunk writes the chunk that contains the address.
func (t *Tx) putChunk(network string, a netip.Addr, c *chunk) error {
	start, _ := chunkOf(a)
	return t.put(bucketChunks, chunkKey(network, start), c.encode())
}
