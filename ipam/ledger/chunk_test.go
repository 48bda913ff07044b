package ledger

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestChunksTakeLittleRoom: the sizes that the layout counts on; see the package
// comment.
func TestChunksTakeLittleRoom(t *testing.T) {
	var empty, full, upTo, scattered chunk
	for bit := range chunkBits {
		full.taken.set(bit)
		full.spent.set(bit)
		if bit < 1000 {
			upTo.taken.set(bit)
		}
		if bit%16 == 0 {
			scattered.taken.set(bit)
		}
	}
	for _, tt := range []struct {
		name string
		c    *chunk
		most int
	}{{"empty", &empty, 6}, {"full", &full, 6}, {"filled from one end", &upTo, 9}, {"scattered", &scattered, chunkSize + 5}} {
		data := tt.c.encode()
		if len(data) > tt.most {
			t.Errorf("%s: %d bytes, want at most %d", tt.name, len(data), tt.most)
		}
		if back, err := decodeChunk(data); err != nil || back != *tt.c {
			t.Errorf("%s: comes back as another one: %v", tt.name, err)
		}
	}
}

// TestChunksComeBack with runs of all lengths at all places.
func TestChunksComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var c chunk
		for _, b := range []*bitmap{&c.taken, &c.spent} {
			for i := 0; i < len(b); {
				value, length := byte(random.IntN(3)*0x7f), 1+random.IntN(1<<random.IntN(10))
				for ; length > 0 && i < len(b); i, length = i+1, length-1 {
					b[i] = value
				}
			}
		}
		data := c.encode()
		if back, err := decodeChunk(data); err != nil || back != c {
			t.Fatalf("%x: comes back as another one: %v", data, err)
		}
	}
}

func TestBitmap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var b bitmap
		for range random.IntN(2 * chunkBits) {
			b.set(random.IntN(chunkBits))
		}
		first := random.IntN(chunkBits)
		last := first + random.IntN(chunkBits-first)
		zero, ones := -1, 0
		for bit := first; bit <= last; bit++ {
			switch {
			case b.has(bit):
				ones++
			case zero < 0:
				zero = bit
			}
		}
		if got := b.nextZero(first, last); got != zero {
			t.Fatalf("the first clear bit from %d to %d is %d, got %d", first, last, zero, got)
		}
		if got := b.count(first, last); got != ones {
			t.Fatalf("%d bits are set from %d to %d, got %d", ones, first, last, got)
		}
	}
	var none bitmap
	if got := none.nextZero(5, 4); got != -1 {
		t.Fatalf("nothing lies between 5 and 4, got %d", got)
	}
}

// FuzzChunk: what the file says is read or refused, and what is read is the same
// when it is written and read again.
func FuzzChunk(f *testing.F) {
	var c chunk
	f.Add([]byte(nil))
	f.Add(c.encode())
	c.taken.set(7)
	f.Add(c.encode())
	f.Add(bytes.Repeat([]byte{0xff}, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChunk(data)
		if err != nil {
			return
		}
		if back, err := decodeChunk(c.encode()); err != nil || back != c {
			t.Errorf("comes back as another one: %v", err)
		}
	})
}

// FuzzHistory: a block that is damaged gives what can be read of it.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("\x05a\x00b\x00c\x00"))
	f.Add(bytes.Repeat([]byte{0xff}, 12))
	f.Fuzz(func(t *testing.T, block []byte) {
		if n := len(changesIn(block)); n > len(block) {
			t.Errorf("%d changes in %d bytes", n, len(block))
		}
	})
}
