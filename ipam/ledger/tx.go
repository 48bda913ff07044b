package ledger

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/netctl/netctl/ipam/quickjson"
)

// The buckets; see the package comment for what they hold.
var (
	bucketAttachments = []byte("attachments")
	bucketChunks      = []byte("chunks")
	bucketCursors     = []byte("cursors")
	bucketPorts       = []byte("ports")
	bucketHistory     = []byte("history")
	bucketHolders     = []byte("holders")
	bucketStamps      = []byte("stamps")
	bucketRemotes     = []byte("remotes")
	bucketMeta        = []byte("meta")
)

func buckets() [][]byte {
	return [][]byte{bucketAttachments, bucketChunks, bucketCursors, bucketPorts,
		bucketHistory, bucketHolders, bucketStamps, bucketRemotes, bucketMeta}
}

// A Tx is a transaction; it is valid only inside the function it was given to.
type Tx struct {
	// tx is nil where there is no file yet: then there is nothing to read.
	tx *bbolt.Tx
	// changed by put and remove; a transaction that changed nothing is not
	// written.
	dirty bool
}

// A TakenError says who holds what was asked for.
type TakenError struct {
	What   string // "address 10.88.0.2", "port 8080/tcp"
	Holder Key
}

// IsPort tells a host port from an address.
func (e *TakenError) IsPort() bool { return strings.HasPrefix(e.What, "port ") }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is already taken by container %s (network %s, interface %s)",
		e.What, e.Holder.Container, e.Holder.Network, e.Holder.IfName)
}

// Attachment returns the record of k, or false.
func (t *Tx) Attachment(k Key) (Record, bool, error) {
	data := t.get(bucketAttachments, k.bytes())
	if data == nil {
		return Record{}, false, nil
	}
	r, err := decode(data)
	return r, err == nil, err
}

// Attachments returns the records of a network, or of all of them for "".
func (t *Tx) Attachments(network string) ([]Record, error) {
	var prefix []byte
	if network != "" {
		prefix = append([]byte(network), 0)
	}
	var records []Record
	err := t.scan(bucketAttachments, prefix, func(_, data []byte) error {
		r, err := decode(data)
		records = append(records, r)
		return err
	})
	return records, err
}

// InUse tells whether a network has an attachment that stays, beside k; for a
// chained plugin's part, whether it has another such part.
func (t *Tx) InUse(k Key) (bool, error) {
	prefix := append([]byte(k.Network), 0)
	for key, data := range t.from(bucketAttachments, prefix) {
		if !bytes.HasPrefix(key, prefix) {
			break
		}
		r, err := decode(data)
		if err != nil || (r.Key != k && r.Part == k.Part && !r.Leaving) {
			return true, err
		}
	}
	return false, nil
}

// ByContainer returns all records of a container. It looks into one network
// after the other, which are few, and there is no index that each ADD and DEL
// would have to keep.
func (t *Tx) ByContainer(id string) ([]Record, error) {
	var records []Record
	for network := range t.networks() {
		err := t.scan(bucketAttachments, []byte(network+"\x00"+id+"\x00"), func(_, data []byte) error {
			r, err := decode(data)
			records = append(records, r)
			return err
		})
		if err != nil {
			return records, err
		}
	}
	return records, nil
}

// networks gives the names of the networks that have attachments, in order.
func (t *Tx) networks() iter.Seq[string] {
	return func(yield func(string) bool) {
		for start := []byte{}; ; {
			name := ""
			for key := range t.from(bucketAttachments, start) {
				name = parseKey(key).Network
				break
			}
			if name == "" || !yield(name) {
				return
			}
			start = []byte(name + "\x01") // behind all keys that begin with the name and \0
		}
	}
}

// Put writes the record and reserves its addresses and ports. It fails with a
// *TakenError, naming the holder, if another attachment has one of them. A
// record of the same key is replaced.
func (t *Tx) Put(r Record) error {
	if err := t.clear(r.Key); err != nil {
		return err
	}
	for _, a := range r.held() {
		if err := t.takeAddress(r.Key, a.Prefix.Addr()); err != nil {
			return err
		}
	}
	for _, p := range r.Ports {
		if err := t.takePort(r.Key, p); err != nil {
			return err
		}
	}
	data, err := quickjson.Marshal(r)
	if err != nil {
		return fmt.Errorf("ledger: encode %s: %w", r.Key, err)
	}
	if err := t.put(bucketAttachments, r.bytes(), data); err != nil {
		return err
	}
	return t.changed(r.Key)
}

// Delete forgets the record of k and gives back what it held. It returns what
// the record said, or false if there was none.
func (t *Tx) Delete(k Key) (Record, bool, error) {
	r, ok, err := t.Attachment(k)
	if err != nil || !ok {
		return r, false, err
	}
	if err := t.clear(k); err != nil {
		return r, false, err
	}
	return r, true, t.changed(k)
}

// clear removes a record and its reservations without a trace in the changes.
func (t *Tx) clear(k Key) error {
	r, ok, err := t.Attachment(k)
	if err != nil || !ok {
		return err
	}
	for _, a := range r.held() {
		if err := t.unmark(k.Network, a.Prefix.Addr()); err != nil {
			return err
		}
	}
	for _, p := range r.Ports {
		if err := t.freePort(k, p); err != nil {
			return err
		}
	}
	return t.remove(bucketAttachments, k.bytes())
}

// held are the addresses that the record itself reserves.
func (r Record) held() []Address {
	if r.Foreign {
		return nil
	}
	return r.Addresses
}

func (t *Tx) get(bucket, key []byte) []byte {
	if t.tx == nil || t.tx.Bucket(bucket) == nil { // made by an older program
		return nil
	}
	return t.tx.Bucket(bucket).Get(key)
}

func (t *Tx) put(bucket, key, value []byte) error {
	t.dirty = true
	return t.tx.Bucket(bucket).Put(key, value)
}

func (t *Tx) remove(bucket, key []byte) error {
	t.dirty = true
	return t.tx.Bucket(bucket).Delete(key)
}

// from goes through the pairs of a bucket in order, from a key on.
func (t *Tx) from(bucket, start []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if t.tx == nil || t.tx.Bucket(bucket) == nil {
			return
		}
		c := t.tx.Bucket(bucket).Cursor()
		for key, value := c.Seek(start); key != nil; key, value = c.Next() {
			if !yield(key, value) {
				return
			}
		}
	}
}

// scan calls fn for each pair whose key starts with prefix.
func (t *Tx) scan(bucket, prefix []byte, fn func(key, value []byte) error) error {
	for key, value := range t.from(bucket, prefix) {
		if !bytes.HasPrefix(key, prefix) {
			return nil
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (k Key) bytes() []byte {
	return []byte(k.Network + "\x00" + k.Container + "\x00" + k.IfName + "\x00" + k.Part)
}

func parseKey(b []byte) Key {
	part := strings.SplitN(string(b), "\x00", 4)
	if len(part) != 4 {
		return Key{}
	}
	return Key{Network: part[0], Container: part[1], IfName: part[2], Part: part[3]}
}

func decode(data []byte) (Record, error) {
	var r Record
	if err := quickjson.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("ledger: decode record: %w", err)
	}
	return r, nil
}
