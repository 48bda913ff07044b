package attach

import (
	"errors"
	"io/fs"
	"net/netip"

	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/ipam/hostlocal"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A change of a host-local directory goes like this. Outermost is the
// directory's lock, which the reference binary takes too; inside it, and short,
// a transaction of the ledger. If the directory has the modification time that
// the last of us gave it, nobody else has been there, and the ledger's copy is
// current. If not, the reference or an administrator has: then the files are
// read once and the copy is brought up to date.
//
// Files are written inside the transaction, as its last step but one; then the
// directory is given a new modification time, which goes into the ledger with
// the rest. Whoever is killed in between leaves a directory whose time the
// ledger does not know: the next one reads the files, and finds there what the
// killed one had reserved or released. So neither a crash nor a failure can make
// the two disagree for longer than until the next call.

// errStale means that the directory is not as the ledger remembers it.
var errStale = errors.New("somebody else has changed the directory")

// A directory is what a change works on.
type directory struct {
	network string
	files   *hostlocal.Change
	tx      *ledger.Tx
	mirror  ledger.Mirror
	// looked means that the copy was made from the files a moment ago.
	looked bool
}

// change runs fn on the network's directory. What fn has created is removed
// again if it fails. The error is fs.ErrNotExist if there is no directory.
func (h hostLocal) change(fn func(directory) error) error {
	dir, err := h.dir()
	if err != nil {
		return err
	}
	files, err := dir.Begin()
	if err != nil {
		return changeError(err)
	}
	defer files.End()
	err = h.update(files, nil, fn)
	if errors.Is(err, errStale) {
		var now map[netip.Addr]ledger.Key
		if now, err = h.look(files); err != nil {
			return changeError(err)
		}
		err = h.update(files, now, fn)
	}
	return changeError(err)
}

// update is one attempt. now is what is in the directory, or nil if nobody has
// looked.
func (h hostLocal) update(files *hostlocal.Change, now map[netip.Addr]ledger.Key, fn func(directory) error) error {
	err := h.store.Update(func(tx *ledger.Tx) error {
		network := h.req.Conf.Name
		d := directory{network, files, tx, tx.Mirror(network, files.String()), now != nil}
		if err := d.refresh(now); err != nil {
			return err
		}
		if err := fn(d); err != nil {
			return err
		}
		if !files.Changed() && !d.looked {
			return nil
		}
		return d.mirror.SetStamp(files.Mark())
	})
	if err != nil {
		return errors.Join(err, files.Undo())
	}
	return nil
}

func (d directory) refresh(now map[netip.Addr]ledger.Key) error {
	if d.looked {
		return d.mirror.Sync(now)
	}
	stamp, err := d.files.Stamp()
	if err != nil {
		return err
	}
	if !stamp.Equal(d.mirror.Stamp()) {
		return errStale
	}
	return nil
}

// look reads the files, removes those of earlier boots, and repairs damaged ones.
func (h hostLocal) look(files *hostlocal.Change) (map[netip.Addr]ledger.Key, error) {
	var known map[netip.Addr]ledger.Key
	err := h.store.View(func(tx *ledger.Tx) error {
		known = tx.Mirror(h.req.Conf.Name, files.String()).All()
		return nil
	})
	if err != nil {
		return nil, err
	}
	found, err := files.Scan()
	if err != nil {
		return nil, err
	}
	s, err := h.sort(found, known)
	if err != nil {
		return nil, err
	}
	return s.now, h.mend(files, s)
}

// mend removes what is void, and repairs what has lost its content.
func (h hostLocal) mend(files *hostlocal.Change, s sorted) error {
	for _, r := range s.void {
		if _, err := files.Remove(r.Addr, r.Holder); err != nil {
			return err
		}
	}
	if len(s.void) > 0 {
		h.log.Warn("host-local: released the addresses that were reserved before this boot", "directory", files.String(), "count", len(s.void))
	}
	for _, a := range s.cut {
		k := s.now[a]
		if err := files.Repair(a, hostlocal.Holder{Container: k.Container, IfName: k.IfName}); err != nil {
			return err
		}
		h.log.Warn("host-local: repaired a reservation that had lost its content", "file", files.File(a), "container", k.Container, "interface", k.IfName)
	}
	return nil
}

// sorted is what is in a directory.
type sorted struct {
	now map[netip.Addr]ledger.Key
	// void are reservations of an earlier boot.
	void []hostlocal.Reservation
	// cut are those of now whose files have lost their content.
	cut []netip.Addr
}

// sort tells reservations that hold from those that are void. One that the
// ledger knows is of this boot, whatever the clock says; and where the file has
// lost its content, the ledger still knows whose it was. What the ledger does
// not know stays as it is: an empty file may be an administrator's.
func (h hostLocal) sort(found []hostlocal.Reservation, known map[netip.Addr]ledger.Key) (sorted, error) {
	boot, err := h.boot()
	if err != nil {
		return sorted{}, err
	}
	s := sorted{now: make(map[netip.Addr]ledger.Key, len(found))}
	for _, r := range found {
		k := ledger.Key{Network: h.req.Conf.Name, Container: r.Container, IfName: r.IfName}
		holder, ok := known[r.Addr]
		switch {
		case ok && r.CutFrom(hostlocal.Holder{Container: holder.Container, IfName: holder.IfName}):
			s.now[r.Addr], s.cut = holder, append(s.cut, r.Addr)
		case r.Void(boot) && !(ok && holder == k):
			s.void = append(s.void, r)
		default:
			s.now[r.Addr] = k
		}
	}
	return s, nil
}

// take makes the files of fresh addresses.
func (d directory) take(at wire.Attachment, choices []choice) error {
	h := hostlocal.Holder{Container: at.Container, IfName: at.IfName}
	k := ledger.Key{Network: at.Network, Container: at.Container, IfName: at.IfName}
	for n, c := range choices {
		if !c.fresh {
			continue
		}
		err := d.files.Create(c.addr, h)
		if errors.Is(err, fs.ErrExist) {
			return errStale
		}
		if err == nil {
			err = d.files.SetCursor(n, c.addr)
		}
		if err == nil {
			err = d.mirror.Take(k, c.addr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drop removes the files of k's addresses, all that can be, and reports the
// others.
func (d directory) drop(k ledger.Key, held []netip.Addr) error {
	var failures []error
	for _, a := range held {
		ours, err := d.files.Remove(a, hostlocal.Holder{Container: k.Container, IfName: k.IfName})
		if err == nil && !ours {
			err = errStale
		}
		if err == nil {
			err = d.mirror.Drop(k, a)
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// changeError gives the errors of a change their codes.
func changeError(err error) error {
	switch {
	case errors.Is(err, errStale):
		return cni.Errorf(cni.CodeTryAgain, "%w without taking its lock", err)
	case errors.Is(err, flock.ErrBusy):
		return cni.Wrap(cni.CodeTryAgain, err)
	}
	return refused(err)
}
