package ledger

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/netctl/netctl/ipam/quickjson"
)

// remotePart marks the keys of other hosts' containers, in front of the host's
// name. They are in a bucket of their own and hold nothing here: they are no
// attachments, and only the resolver reads them.
const remotePart = "@"

// Remote is the key of a container on another host.
func Remote(network, node, container string) Key {
	return Key{Network: network, Container: container, Part: remotePart + node}
}

// Remotes returns what is known of other hosts' containers in a network, or in
// all of them for "".
func (t *Tx) Remotes(network string) ([]Record, error) {
	var prefix []byte
	if network != "" {
		prefix = append([]byte(network), 0)
	}
	var records []Record
	err := t.scan(bucketRemotes, prefix, func(_, data []byte) error {
		r, err := decode(data)
		records = append(records, r)
		return err
	})
	return records, err
}

// SetRemotes makes these the other hosts' containers of a network, and tells
// whether that changed anything. Their keys are made by Remote.
func (t *Tx) SetRemotes(network string, want []Record) (changed bool, err error) {
	have, err := t.Remotes(network)
	if err != nil {
		return false, err
	}
	known := map[Key]Record{}
	for _, r := range have {
		known[r.Key] = r
	}
	for _, r := range want {
		old, found := known[r.Key]
		delete(known, r.Key)
		if found && reflect.DeepEqual(old, r) {
			continue
		}
		data, err := quickjson.Marshal(r)
		if err != nil {
			return changed, fmt.Errorf("ledger: encode %s: %w", r.Key, err)
		}
		if err := t.put(bucketRemotes, r.bytes(), data); err != nil {
			return changed, err
		}
		changed = true
		if err := t.changed(r.Key); err != nil {
			return changed, err
		}
	}
	for k := range known {
		changed = true
		if err := t.remove(bucketRemotes, k.bytes()); err != nil {
			return changed, err
		}
		if err := t.changed(k); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// named finds the record of a key of either kind.
func (t *Tx) named(k Key) (Record, bool, error) {
	if !strings.HasPrefix(k.Part, remotePart) {
		return t.Attachment(k)
	}
	data := t.get(bucketRemotes, k.bytes())
	if data == nil {
		return Record{}, false, nil
	}
	r, err := decode(data)
	return r, err == nil, err
}
