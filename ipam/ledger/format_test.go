package ledger_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/netctl/netctl/ipam/ledger"
)

// raw works on the file of a ledger without our code.
func raw(t *testing.T, dir string, fn func(*bbolt.Tx) error) error {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "ledger-b.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Update(fn)
}

// A first is a file of format 1, as its programs wrote it.
type first struct{ tx *bbolt.Tx }

func (f first) put(bucket, key string, value []byte) error {
	b, err := f.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	return b.Put([]byte(key), value)
}

func inChunk(a netip.Addr) (start string, bitmap []byte) {
	b := a.As16()
	low := int(binary.BigEndian.Uint16(b[14:]))
	binary.BigEndian.PutUint16(b[14:], uint16(low&^4095))
	bitmap = make([]byte, 512)
	bitmap[low%4096/8] = 1 << (low % 8)
	return string(b[:]), bitmap
}

// write makes a network with a record, a file of host-local, a file for an
// address that the record has, and an address that was given back.
func (f first) write(r ledger.Record, file, spent netip.Addr, dir string) error {
	name := func(k ledger.Key) string {
		return k.Network + "\x00" + k.Container + "\x00" + k.IfName + "\x00" + k.Part
	}
	data, err := json.Marshal(r)
	own := r.Addresses[0].Prefix.Addr()
	start, marks := inChunk(own)
	_, more := inChunk(file)
	for i := range marks {
		marks[i] |= more[i]
	}
	_, gone := inChunk(spent)
	as16 := func(a netip.Addr) string { b := a.As16(); return string(b[:]) }
	by := ledger.Key{Network: "net", Container: "by-file", IfName: "eth0"}
	port := "\x06\x1f\x90" + strings.Repeat("\x00", 16)
	return errors.Join(err,
		f.put("attachments", name(r.Key), data),
		f.put("addresses", "net\x00"+as16(own), []byte(name(r.Key))),
		f.put("addresses", "net\x00"+as16(file), []byte(name(by))),
		f.put("bitmaps", "net\x00"+start, marks),
		f.put("spent", "net\x00"+start, gone),
		f.put("holders", dir+"\x00by-file\x00eth0\x00"+as16(file), nil),
		f.put("holders", dir+"\x00behind\x00eth0\x00"+as16(own), nil),
		f.put("stamps", dir, make([]byte, 8)),
		f.put("cursors", "other", []byte("x")),
		f.put("remotes", "net\x00far\x00\x00@node", data),
		f.put("ports", port, []byte(name(r.Key))),
		f.put("changes", string(binary.BigEndian.AppendUint64(nil, 5000)), []byte(name(r.Key))),
		f.put("meta", "generation", binary.BigEndian.AppendUint64(nil, 5000)),
		f.put("meta", "firewall", []byte("nftables")))
}

// TestAFileOfFormat1IsReadAndBroughtUp is a host that is upgraded while its
// containers run: what they hold stays theirs, and readers are told everything.
func TestAFileOfFormat1IsReadAndBroughtUp(t *testing.T) {
	own, file, spent := addr("10.1.0.2"), addr("10.1.0.3"), addr("10.1.0.4")
	record := ledger.Record{Key: key(1), Addresses: []ledger.Address{{Prefix: netip.PrefixFrom(own, 29)}},
		Ports: []ledger.Port{{Protocol: "tcp", HostPort: 8080, Container: 80}}, Created: time.Unix(1, 0).UTC()}
	for name, firstUse := range map[string]func(*ledger.Ledger, func(*ledger.Tx) error) error{
		"by a reader": (*ledger.Ledger).View, "by a writer": (*ledger.Ledger).Update,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := raw(t, dir, func(tx *bbolt.Tx) error { return first{tx}.write(record, file, spent, directory) }); err != nil {
				t.Fatal(err)
			}
			l, err := ledger.OpenBoot(dir, "b")
			if err != nil {
				t.Fatal(err)
			}
			if err := firstUse(l, func(tx *ledger.Tx) error { return checkBroughtUp(t, tx, own, file, spent) }); err != nil {
				t.Fatal(err)
			}
			if d, err := l.Changes(5000); err != nil || !d.Full || d.Generation <= 5000 {
				t.Errorf("changes since the old generation: full %t, now %d, %v", d.Full, d.Generation, err)
			}
			checkReleases(t, l, own, file)
		})
	}
}

func checkBroughtUp(t *testing.T, tx *ledger.Tx, own, file, spent netip.Addr) error {
	for a, want := range map[netip.Addr]string{own: "c1", file: "by-file", spent: ""} {
		if holder, found := tx.Holder("net", a); holder.Container != want || found != (want != "") {
			t.Errorf("%s is held by %q, %t; want %q", a, holder.Container, found, want)
		}
	}
	if tx.Fresh("net", spent) || !tx.Fresh("net", spent.Next()) {
		t.Errorf("fresh: %s %t, %s %t", spent, tx.Fresh("net", spent), spent.Next(), tx.Fresh("net", spent.Next()))
	}
	if holder, _ := tx.PortHolder(ledger.Port{Protocol: "tcp", HostPort: 8080}); holder != key(1) {
		t.Errorf("port 8080 is held by %v", holder)
	}
	remotes, err := tx.Remotes("net")
	if len(remotes) != 1 || tx.Mechanism() != "nftables" {
		t.Errorf("%d remotes, mechanism %q", len(remotes), tx.Mechanism())
	}
	return err
}

// checkReleases takes what there is away: a file for an address that a record
// has does not free it.
func checkReleases(t *testing.T, l *ledger.Ledger, own, file netip.Addr) {
	t.Helper()
	held := func(a netip.Addr) (found bool) {
		if err := l.View(func(tx *ledger.Tx) error { _, found = tx.Holder("net", a); return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	mirrored(t, l, func(m ledger.Mirror) error {
		return errors.Join(m.Drop(ledger.Key{Network: "net", Container: "behind", IfName: "eth0"}, own),
			m.Drop(ledger.Key{Network: "net", Container: "by-file", IfName: "eth0"}, file))
	})
	if !held(own) || held(file) {
		t.Errorf("after the files have gone: %s held %t, %s held %t", own, held(own), file, held(file))
	}
	if release(t, l, key(1)); held(own) {
		t.Errorf("%s is held after its container has gone", own)
	}
}

// withOne is a ledger in which key(1) has an address.
func withOne(t *testing.T) (dir string, l *ledger.Ledger) {
	t.Helper()
	dir = t.TempDir()
	l, err := ledger.OpenBoot(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(l, key(1), set(t, "10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	return dir, l
}

// TestProgramsOfFormat1AreTurnedAway does what they do first: make the buckets
// that are missing.
func TestProgramsOfFormat1AreTurnedAway(t *testing.T) {
	dir, l := withOne(t)
	err := raw(t, dir, func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte("meta")) != nil && tx.Bucket([]byte("remotes")) != nil && tx.Bucket([]byte("spent")) != nil {
			return nil // they would go on
		}
		for _, name := range strings.Fields("attachments addresses bitmaps spent cursors ports changes holders stamps remotes meta") {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, bbolterrors.ErrIncompatibleValue) {
		t.Fatalf("got %v, want %v", err, bbolterrors.ErrIncompatibleValue)
	}
	if _, err := take(l, key(2), set(t, "10.1.0.0/24")); err != nil {
		t.Fatalf("afterwards: %v", err)
	}
}

// TestAFileOfALaterFormatIsRefused by readers and writers, and stays as it is.
func TestAFileOfALaterFormatIsRefused(t *testing.T) {
	dir, l := withOne(t)
	if err := raw(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{99}) }); err != nil {
		t.Fatal(err)
	}
	want := "ledger " + filepath.Join(dir, "ledger-b.db") + " has format 99, and this program knows 2: a newer netctl wrote it: use that one, or restart the host"
	never := func(*ledger.Tx) error { t.Error("it was given out"); return nil }
	for what, err := range map[string]error{"View": l.View(never), "Update": l.Update(never)} {
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v\nwant %s", what, err, want)
		}
	}
}
