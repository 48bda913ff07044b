package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

// changesKept is how many changes a reader may lag behind before it has to
// read everything anew.
const changesKept = 1024

// blockSize is the size in bytes from which on the newest changes become a
// block of their own. Until then they are beside the generation, on a page that
// is written anyway: an own tree would be two pages more for each change.
const blockSize = 512

// A Delta is what changed between two generations.
type Delta struct {
	Generation uint64
	// Full means that Changed is everything there is, not a difference.
	Full    bool
	Changed []Record
	Gone    []Key
}

// Generation is the number of the last change; it only grows.
func (l *Ledger) Generation() (uint64, error) {
	var gen uint64
	err := l.View(func(t *Tx) error {
		gen = t.Generation()
		return nil
	})
	return gen, err
}

// Generation is the number of the last change that the transaction sees.
func (t *Tx) Generation() uint64 {
	newest, _ := t.recent()
	return newest
}

// Changes tells what happened after the given generation.
func (l *Ledger) Changes(since uint64) (Delta, error) {
	var d Delta
	err := l.View(func(t *Tx) error {
		d = Delta{Generation: t.Generation()}
		if since > d.Generation || since == 0 || d.Generation-since > changesKept {
			var err error
			d.Full = true
			if d.Changed, err = t.Attachments(""); err != nil {
				return err
			}
			remotes, err := t.Remotes("")
			d.Changed = append(d.Changed, remotes...)
			return err
		}
		return t.changesAfter(since, &d)
	})
	return d, err
}

func (t *Tx) changesAfter(since uint64, d *Delta) error {
	seen := map[Key]bool{}
	for gen, k := range t.history(since + 1) {
		if gen <= since || seen[k] {
			continue
		}
		seen[k] = true
		r, ok, err := t.named(k)
		switch {
		case err != nil:
			return err
		case ok:
			d.Changed = append(d.Changed, r)
		default:
			d.Gone = append(d.Gone, k)
		}
	}
	return nil
}

// history gives the changes with their generations, from the block on that
// contains a generation.
func (t *Tx) history(from uint64) iter.Seq2[uint64, Key] {
	return func(yield func(uint64, Key) bool) {
		for key, block := range t.from(bucketHistory, generationKey(from)) {
			if !eachChange(binary.BigEndian.Uint64(key), block, yield) {
				return
			}
		}
		newest, recent := t.recent()
		eachChange(newest, recent, yield)
	}
}

// eachChange goes through a block, whose last change has the given generation.
func eachChange(last uint64, block []byte, yield func(uint64, Key) bool) bool {
	keys := changesIn(block)
	for i, k := range keys {
		if !yield(last-uint64(len(keys)-1-i), k) {
			return false
		}
	}
	return true
}

// changesIn takes a block apart: keys, in front of each its length (uvarint).
func changesIn(block []byte) (keys []Key) {
	for len(block) > 0 {
		length, n := binary.Uvarint(block)
		if n <= 0 || length > uint64(len(block)-n) {
			break
		}
		keys = append(keys, parseKey(block[n:n+int(length)]))
		block = block[n+int(length):]
	}
	return keys
}

var keyRecent = []byte("recent")

// recent gives the newest change's generation, 0 if there is none, and the
// changes that are in no block yet.
func (t *Tx) recent() (newest uint64, block []byte) {
	value := t.get(bucketMeta, keyRecent)
	if len(value) < 8 {
		return 0, nil
	}
	return binary.BigEndian.Uint64(value), value[8:]
}

func (t *Tx) setRecent(newest uint64, block []byte) error {
	return t.put(bucketMeta, keyRecent, append(generationKey(newest), block...))
}

// changed counts a change of k and forgets the oldest ones. A new ledger begins
// far beyond any earlier one of this boot, in microseconds since the boot: after a
// damaged file was set aside, whoever knows the old one's generations is told
// everything, and not taken to be ahead.
func (t *Tx) changed(k Key) error {
	newest, recent := t.recent()
	if newest == 0 {
		start, err := sinceBoot()
		if err != nil {
			return err
		}
		newest = uint64(start.Microseconds()) - 1
	}
	newest++
	name := k.bytes()
	block := append(binary.AppendUvarint(bytes.Clone(recent), uint64(len(name))), name...)
	if len(block) < blockSize {
		return t.setRecent(newest, block)
	}
	if err := t.put(bucketHistory, generationKey(newest), block); err != nil {
		return err
	}
	if err := t.dropChanges(newest - changesKept); err != nil {
		return err
	}
	return t.setRecent(newest, nil)
}

// dropChanges forgets the blocks with nothing newer than a generation.
func (t *Tx) dropChanges(than uint64) error {
	var old [][]byte
	for key := range t.from(bucketHistory, nil) {
		if len(key) == 8 && binary.BigEndian.Uint64(key) > than {
			break
		}
		old = append(old, bytes.Clone(key)) // the file may be mapped anew
	}
	for _, key := range old {
		if err := t.remove(bucketHistory, key); err != nil {
			return err
		}
	}
	return nil
}

func sinceBoot() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("ledger: time since boot: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

func generationKey(gen uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, gen)
}
