package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// changesKept is how many changes a reader may lag behind before it has to
// read everything anew.
const changesKept = 1024

// changesDropped is how many go at a time: each time the oldest page of the
// tree has to be written anew.
const changesDropped = 64

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
		gen = t.generation()
		return nil
	})
	return gen, err
}

// Generation is the number of the last change that the transaction sees.
func (t *Tx) Generation() uint64 { return t.generation() }

// Changes tells what happened after the given generation.
func (l *Ledger) Changes(since uint64) (Delta, error) {
	var d Delta
	err := l.View(func(t *Tx) error {
		d = Delta{Generation: t.generation()}
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
	for _, value := range t.from(bucketChanges, generationKey(since+1)) {
		k := parseKey(value)
		if seen[k] {
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

// changed counts a change of k and forgets the oldest one. A new ledger begins
// far beyond any earlier one of this boot, in microseconds since the boot: after a
// damaged file was set aside, whoever knows the old one's generations is told
// everything, and not taken to be ahead.
func (t *Tx) changed(k Key) error {
	gen := t.generation() + 1
	if gen == 1 {
		start, err := sinceBoot()
		if err != nil {
			return err
		}
		gen = uint64(start.Microseconds())
	}
	if err := t.put(bucketMeta, []byte("generation"), generationKey(gen)); err != nil {
		return err
	}
	if err := t.put(bucketChanges, generationKey(gen), k.bytes()); err != nil {
		return err
	}
	if gen%changesDropped != 0 {
		return nil
	}
	return t.dropChanges(gen - changesKept)
}

// dropChanges forgets what is older than a generation.
func (t *Tx) dropChanges(than uint64) error {
	var old [][]byte
	for key := range t.from(bucketChanges, nil) {
		if len(key) == 8 && binary.BigEndian.Uint64(key) >= than {
			break
		}
		old = append(old, bytes.Clone(key)) // the file may be mapped anew
	}
	for _, key := range old {
		if err := t.remove(bucketChanges, key); err != nil {
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
