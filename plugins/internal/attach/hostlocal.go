package attach

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/hostlocal"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// hostLocal is the reference host-local's IPAM: the truth is in the files of
// its data directory, which the reference can read and change at any time, and
// the ledger is the index that makes a look-up cost the same however many files
// there are (see hostlocal_change.go).
type hostLocal struct {
	store *ledger.Ledger
	boot  func() (time.Time, error)
	log   *slog.Logger
	req   *cni.Request
}

func (h hostLocal) parse() (addressing, error) {
	pool, err := ParsePool(h.req)
	return hostLocalAddressing{h, pool}, err
}

// dir needs no more of the configuration than where the files are.
func (h hostLocal) dir() (hostlocal.Dir, error) {
	var raw struct {
		DataDir string `json:"dataDir"`
	}
	if err := decodeIPAM(h.req, &raw); err != nil {
		return hostlocal.Dir{}, err
	}
	return hostlocal.In(raw.DataDir, h.req.Conf.Name)
}

func (h hostLocal) release(_ context.Context, at wire.Attachment, forget forget) error {
	err := h.change(func(d directory) error {
		if err := forget.run(d.tx); err != nil {
			return err
		}
		k := ledger.Key{Network: at.Network, Container: at.Container, IfName: at.IfName}
		held := d.mirror.Held(k.Container, k.IfName)
		if len(held) == 0 {
			k.IfName = "" // files of the old format
			held = d.mirror.Held(k.Container, "")
		}
		return d.drop(k, held)
	})
	if errors.Is(err, fs.ErrNotExist) { // nobody has ever reserved anything
		return fixed{store: h.store}.release(context.Background(), at, forget)
	}
	return err
}

// of tells which addresses a container has, and for which of its interfaces; a
// file of the old format names none.
func (h hostLocal) of(container string) (held map[netip.Addr]string, err error) {
	err = h.change(func(d directory) error {
		held = d.mirror.Of(container)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return held, err
}

// vanished gives the attachments that collect will take addresses from.
func (h hostLocal) vanished(keep valid) (gone map[ledger.Key][]netip.Addr, err error) {
	err = h.change(func(d directory) error {
		gone, err = d.vanished(keep)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return gone, err
}

// vanished leaves alone what names no container, and what a record of the ledger
// stands for: that goes with the attachment, or stays because it couldn't.
func (d directory) vanished(keep valid) (map[ledger.Key][]netip.Addr, error) {
	gone := map[ledger.Key][]netip.Addr{}
	for a, k := range d.mirror.All() {
		if k.Container == "" || k.IfName == "" && keep.has(k.Container) ||
			keep[cni.ValidAttachment{ContainerID: k.Container, IfName: k.IfName}] {
			continue
		}
		_, found, err := d.tx.Attachment(k)
		if err != nil {
			return nil, err
		}
		if !found {
			gone[k] = append(gone[k], a)
		}
	}
	return gone, nil
}

// collect gives the addresses of vanished attachments back.
func (h hostLocal) collect(_ context.Context, keep valid) error {
	var failures []error
	err := h.change(func(d directory) error {
		failures = nil
		gone, err := d.vanished(keep)
		for k, held := range gone {
			err := d.drop(k, held)
			if errors.Is(err, errStale) {
				return err
			}
			failures = append(failures, err)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(append(failures, err)...)
}

func (h hostLocal) tell(context.Context, cni.Command) error { return nil }

type hostLocalAddressing struct {
	hostLocal
	pool Pool
}

func (h hostLocalAddressing) routes() []wire.Route { return h.pool.Routes }

func (h hostLocalAddressing) reserve(_ context.Context, at wire.Attachment, enter enter) (Grant, error) {
	grant, err := h.pool.grant()
	if err != nil {
		return Grant{}, err
	}
	dir, err := h.dir()
	if err != nil {
		return Grant{}, err
	}
	if err := dir.Make(); err != nil {
		return Grant{}, cni.Wrap(cni.CodeStore, err)
	}
	err = h.change(func(d directory) error {
		choices, err := d.chooseAll(h.pool, at)
		if err != nil {
			return err
		}
		grant.Addresses = nil
		for _, c := range choices {
			grant.Addresses = append(grant.Addresses, granted(c.addr, c.from))
		}
		if err := enter.run(d.tx, grant); err != nil {
			return err
		}
		return d.take(at, choices)
	})
	return grant, err
}

// A choice is the address for one set.
type choice struct {
	addr netip.Addr
	from ipam.Range
	// fresh ones have no file yet.
	fresh bool
}

func (d directory) chooseAll(pool Pool, at wire.Attachment) ([]choice, error) {
	held := d.mirror.Held(at.Container, at.IfName)
	var choices []choice
	for n, set := range pool.Sets {
		c, err := d.choose(n, set, pool.Wanted[n], held)
		if err != nil {
			return nil, err
		}
		choices = append(choices, c)
	}
	return choices, nil
}

// choose prefers what the attachment has already: a repeated ADD never uses up a
// second address. (A file of the old format may be that of another interface of
// the container, so it does not count.) An answer from the ledger's copy that
// refuses the caller is given only after a look at the directory itself.
func (d directory) choose(n int, set ipam.Set, wanted netip.Addr, held []netip.Addr) (choice, error) {
	for _, a := range held {
		from, ok := set.Find(a)
		switch {
		case ok && wanted.IsValid() && wanted != a:
			return choice{}, cni.Errorf(cni.CodeTaken, "address %s is asked for by an attachment that has %s already", wanted, a).
				WithHint("DEL the attachment first")
		case ok:
			return choice{addr: a, from: from}, nil
		}
	}
	if wanted.IsValid() {
		from, _ := set.Find(wanted)
		return choice{wanted, from, true}, d.free(wanted)
	}
	a, from, err := d.mirror.Next(set, d.files.Cursor(n))
	if err != nil && !d.looked {
		return choice{}, errStale
	}
	return choice{a, from, true}, err
}

// free says who has the address if it is taken.
func (d directory) free(a netip.Addr) error {
	holder, taken := d.tx.Holder(d.network, a)
	switch {
	case !taken:
		return nil
	case !d.looked:
		return errStale
	case holder.Container == "":
		return cni.Errorf(cni.CodeTaken, "address %s is reserved by hand: file %s names no container", a, d.files.File(a)).
			WithHint("ask for another address, or remove the file")
	}
	return &ledger.TakenError{What: "address " + a.String(), Holder: holder}
}

// check reads the files themselves: they may have been edited in place.
func (h hostLocalAddressing) check(_ context.Context, at wire.Attachment, previous *current.Result) error {
	given, err := givenBy(h.pool, previous)
	if err != nil {
		return err
	}
	dir, err := h.dir()
	if err != nil {
		return err
	}
	for _, a := range given {
		r, found := dir.Read(a)
		switch {
		case !found:
			return cni.Errorf(cni.CodeCheck, "address %s of %s is not reserved: there is no file %s", a, at, dir.File(a))
		case r.Container != at.Container || r.IfName != "" && r.IfName != at.IfName:
			return cni.Errorf(cni.CodeCheck, "address %s of %s is reserved for container %q, interface %q: file %s", a, at, r.Container, r.IfName, dir.File(a))
		}
	}
	return nil
}

// status neither takes the directory's lock nor repairs anything.
func (h hostLocalAddressing) status(context.Context) error {
	dir, err := h.dir()
	if err != nil {
		return err
	}
	room, err := h.room(dir)
	if err != nil {
		return notAvailable(err)
	}
	for _, set := range h.pool.Sets {
		if err := room(set); err != nil {
			return notAvailable(err)
		}
	}
	return nil
}

// room gives the function that tells whether a set has a free address: by the
// ledger's copy if that is current, else by the files.
func (h hostLocalAddressing) room(dir hostlocal.Dir) (func(ipam.Set) error, error) {
	stamp, err := dir.Stamp()
	if err != nil {
		return nil, err
	}
	var full error
	var known map[netip.Addr]ledger.Key
	err = h.store.View(func(tx *ledger.Tx) error {
		mirror := tx.Mirror(h.req.Conf.Name, dir.String())
		if !mirror.Stamp().Equal(stamp) {
			known = mirror.All()
			return nil
		}
		for _, set := range h.pool.Sets {
			if _, _, err := mirror.Next(set, netip.Addr{}); err != nil {
				full = err
			}
		}
		return nil
	})
	if err != nil || known == nil {
		return func(ipam.Set) error { return full }, err
	}
	found, err := dir.Scan()
	if err != nil {
		return nil, err
	}
	s, err := h.sort(found, known)
	return func(set ipam.Set) error { return roomBeside(s.now, h.req.Conf.Name, set) }, err
}

// roomBeside looks for an address that nobody has.
func roomBeside(taken map[netip.Addr]ledger.Key, network string, set ipam.Set) error {
	used := 0
	for _, r := range set {
		for a := r.Start; r.Within(a); a = a.Next() {
			if _, ok := taken[a]; ok {
				used++
			} else if r.Contains(a) {
				return nil
			}
		}
	}
	return &ledger.ExhaustedError{Network: network, Set: set, Used: used}
}
