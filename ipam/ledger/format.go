package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The ledger outlives the programs that write it: a host is upgraded while its
// containers run. So the file has the number of its format. A program brings a
// file of an earlier format up to its own, in one transaction, before it does
// anything else; one of a later format it refuses.
//
// The formats so far:
//
//	1  had no number; a tree of addresses with their holders, bitmaps of 512
//	   bytes (bitmaps, spent), one entry for each change (changes)
//	2  the package comment
const format = 2

var keyFormat = []byte("format")

var (
	errOld   = errors.New("the ledger has an earlier format")
	errNewer = errors.New("a newer netctl wrote it: use that one, or restart the host")
)

// formatOf gives the number of a file's format, 0 for a file without anything.
func formatOf(tx *bbolt.Tx) int {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return 0
	}
	if value := meta.Get(keyFormat); len(value) == 1 {
		return int(value[0])
	}
	return 1
}

// readable tells whether the file can be read as it is.
func readable(tx *bbolt.Tx) error {
	switch found := formatOf(tx); {
	case found > format:
		return fmt.Errorf("ledger %s has format %d, and this program knows %d: %w", tx.DB().Path(), found, format, errNewer)
	case found == 1:
		return errOld
	}
	return nil
}

// begin begins a transaction that changes the file, after bringing it up to this
// program's format if need be.
func begin(db *bbolt.DB) (*bbolt.Tx, error) {
	tx, err := db.Begin(true)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	found := formatOf(tx)
	if found == format {
		return tx, nil
	}
	defer tx.Rollback() // does nothing after a commit
	if err := readable(tx); err != nil && !errors.Is(err, errOld) {
		return nil, err
	}
	if err := bringUp(tx, found); err != nil {
		return nil, fmt.Errorf("ledger: bring %s up from format %d to %d: %w", db.Path(), found, format, err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("ledger: write %s: %w", db.Path(), err)
	}
	return db.Begin(true)
}

func bringUp(tx *bbolt.Tx, found int) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	t := &Tx{tx: tx}
	if found == 1 {
		if err := t.fromFirst(); err != nil {
			return err
		}
	}
	if err := turnAway(tx); err != nil {
		return err
	}
	return t.put(bucketMeta, keyFormat, []byte{format})
}

// The buckets and the key that only format 1 has.
var (
	oldAddresses  = []byte("addresses")
	oldBitmaps    = []byte("bitmaps")
	oldSpent      = []byte("spent")
	oldChanges    = []byte("changes")
	oldGeneration = []byte("generation")
)

// turnAway has programs fail that know only format 1, and don't ask for a
// number: monitors of containers that were started before the upgrade, say. They
// make the buckets that are missing, and one of these can't be made where a plain
// key has its name. They would give out addresses that are taken, else.
func turnAway(tx *bbolt.Tx) error {
	root := tx.Cursor().Bucket()
	return root.Put(oldSpent, []byte("this file has a format that your program is too old for"))
}

// fromFirst makes format 2 of format 1.
func (t *Tx) fromFirst() error {
	if err := t.chunksFromFirst(); err != nil {
		return err
	}
	if err := t.holdersFromFirst(); err != nil {
		return err
	}
	// Nobody reads the old changes: every reader lags too far behind.
	if value := t.get(bucketMeta, oldGeneration); len(value) == 8 {
		if err := t.setRecent(binary.BigEndian.Uint64(value)+changesKept+1, nil); err != nil {
			return err
		}
	}
	if err := t.remove(bucketMeta, oldGeneration); err != nil {
		return err
	}
	for _, name := range [][]byte{oldAddresses, oldBitmaps, oldSpent, oldChanges} {
		if err := t.tx.DeleteBucket(name); err != nil && !errors.Is(err, bbolterrors.ErrBucketNotFound) {
			return err
		}
	}
	return nil
}

// chunksFromFirst puts what was in two buckets into one.
func (t *Tx) chunksFromFirst() error {
	chunks := map[string]*chunk{}
	at := func(key []byte) *chunk {
		if chunks[string(key)] == nil {
			chunks[string(key)] = new(chunk)
		}
		return chunks[string(key)]
	}
	for key, value := range t.from(oldBitmaps, nil) {
		copy(at(key).taken[:], value)
	}
	for key, value := range t.from(oldSpent, nil) {
		copy(at(key).spent[:], value)
	}
	for key, c := range chunks {
		if err := t.put(bucketChunks, []byte(key), c.encode()); err != nil {
			return err
		}
	}
	return nil
}

// holdersFromFirst marks the files of which a record has the address.
func (t *Tx) holdersFromFirst() error {
	var behind [][]byte
	for key := range t.from(bucketHolders, nil) {
		dir, k, a, ok := parseHolder(key)
		if !ok {
			continue
		}
		k.Network = filepath.Base(dir)
		b := a.As16()
		owner := t.get(oldAddresses, chunkKey(k.Network, b))
		if owner == nil || parseKey(owner) != k {
			behind = append(behind, bytes.Clone(key))
		}
	}
	for _, key := range behind {
		if err := t.put(bucketHolders, key, shadowed); err != nil {
			return err
		}
	}
	return nil
}
