package hostlocal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

// lockWait bounds the wait for other processes. The reference holds the lock
// while it reads the whole directory, which is a third of a second for 65,000
// files.
const lockWait = 4 * time.Second

// unfinished is where a file is written before it gets its name. There is one
// at most, because it is made under the lock, and the next who has the lock
// removes what a killed process left.
const unfinished = ".netctl-unfinished"

// A Change is a directory whose lock is held. It is not safe for concurrent
// use.
type Change struct {
	Dir
	lock    *os.File
	changed bool
	created []netip.Addr
}

// Begin takes the directory's lock, which the reference takes too. The error is
// fs.ErrNotExist if there is no directory, flock.ErrBusy if the lock can't be
// had within ten seconds.
func (d Dir) Begin() (*Change, error) {
	lock, err := flock.Open(filepath.Join(d.path, "lock"), unix.LOCK_EX, lockWait)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	c := &Change{Dir: d, lock: lock}
	if err := c.discard(); err != nil {
		c.End()
		return nil, err
	}
	return c, nil
}

// Make makes the directory, which nobody but root can read.
func (d Dir) Make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// End gives the lock back.
func (c *Change) End() { c.lock.Close() }

// Changed tells whether anything was written or removed.
func (c *Change) Changed() bool { return c.changed }

// Create reserves an address. The error is fs.ErrExist if it is taken: the
// file's name decides, as it does for the reference. The file appears under its
// name with all its content or not at all; the reference makes it empty first,
// and what a killed one leaves belongs to nobody.
func (c *Change) Create(a netip.Addr, h Holder) error {
	if err := c.write(h.content()); err != nil {
		return fmt.Errorf("reserve address %s: %w", a, err)
	}
	err := os.Link(c.temporary(), c.File(a))
	if err == nil {
		c.created = append(c.created, a)
	}
	if err := errors.Join(err, c.discard()); err != nil {
		return fmt.Errorf("reserve address %s: %w", a, err)
	}
	return nil
}

// Repair writes the content of a reservation anew, which has lost it.
func (c *Change) Repair(a netip.Addr, h Holder) error {
	err := c.write(h.content())
	if err == nil {
		err = os.Rename(c.temporary(), c.File(a))
	}
	if err != nil {
		return fmt.Errorf("repair the reservation of %s: %w", a, errors.Join(err, c.discard()))
	}
	return nil
}

// SetCursor records the address given out last from the n-th set of ranges.
func (c *Change) SetCursor(n int, a netip.Addr) error {
	err := c.write([]byte(a.String()))
	if err == nil {
		err = os.Rename(c.temporary(), c.cursorFile(n))
	}
	if err != nil {
		return fmt.Errorf("record the last address: %w", errors.Join(err, c.discard()))
	}
	return nil
}

// Remove gives an address back. It returns false, and removes nothing, if the
// file names somebody else; that there is no file is true as well.
func (c *Change) Remove(a netip.Addr, h Holder) (bool, error) {
	r, found := c.Read(a)
	if !found {
		return true, nil
	}
	if r.Holder != h {
		return false, nil
	}
	c.changed = true
	if err := os.Remove(c.File(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("release address: %w", err)
	}
	return true, nil
}

// Undo removes what Create made.
func (c *Change) Undo() error {
	var failures []error
	for _, a := range c.created {
		if err := os.Remove(c.File(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, fmt.Errorf("release address: %w", err))
		}
	}
	c.created = nil
	return errors.Join(failures...)
}

// Mark gives the directory a modification time that nobody else will, and
// returns it: some instant of the past day, to the nanosecond. The kernel gives
// a changed directory the present one, which is only as fine as its clock tick
// (some milliseconds), or the file system's (up to two seconds): two changes
// can look like one there.
//
// The result is the zero time where the file system does not keep such times;
// nobody may rely on a copy of the directory then.
func (c *Change) Mark() time.Time {
	stamp := time.Now().Add(-time.Minute - rand.N(24*time.Hour))
	if os.Chtimes(c.path, time.Time{}, stamp) != nil {
		return time.Time{}
	}
	kept, err := c.Stamp() // coarse file systems cut it off
	if err != nil || kept.Sub(stamp).Abs() > 2*time.Second {
		return time.Time{}
	}
	return kept
}

func (c *Change) temporary() string { return filepath.Join(c.path, unfinished) }

// write writes the temporary file. It is not synced: what a power cut destroys
// is void anyway.
func (c *Change) write(content []byte) error {
	c.changed = true
	if err := os.WriteFile(c.temporary(), content, 0o600); err != nil {
		return errors.Join(err, c.discard())
	}
	return nil
}

func (c *Change) discard() error {
	if err := os.Remove(c.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
