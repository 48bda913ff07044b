package firewall

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rewrite reads our table in one family and collects the changes that turn it
// into what is wanted: adds what is missing, takes away what is not wanted and
// may go, then what has become empty. When nothing of any network is left, the
// table goes. With elements, the sets that grow with attachments are read too.
func (s *nftSession) rewrite(f family, want nftWant, gone func(comment string) bool, elements bool) error {
	if err := s.dial(); err != nil {
		return err
	}
	s.rewrote = true
	now, err := s.read(f).rules()
	if err != nil || len(now.chains)+len(want.chains) == 0 {
		return err
	}
	d := &nftDifference{writer: s.write(f), now: now, want: want, gone: gone}
	if elements || len(want.chains) == 0 && !d.alive() {
		if err := s.readElements(d); err != nil {
			return err
		}
	}
	if len(want.chains) == 0 && !d.alive() && !d.administered() {
		d.writer.conn.DelTable(d.writer.table)
		return nil
	}
	return d.write()
}

// readElements reads the sets that grow with attachments, where there are any.
func (s *nftSession) readElements(d *nftDifference) error {
	for _, name := range []string{nftPublish, nftPublishAny, nftRanges, nftAttachments} {
		if len(d.now.chains) == 0 {
			continue
		}
		all, err := s.writer.GetSetElements(d.writer.sets[name])
		if err != nil {
			return fmt.Errorf("read set %s: %w", name, err)
		}
		for _, e := range all {
			d.now.elements = append(d.now.elements, element{set: name, key: e.Key, until: e.KeyEnd, value: e.Val, comment: e.Comment})
		}
	}
	return nil
}

// nftDifference is the work of one rewrite.
type nftDifference struct {
	writer *nftWriter
	now    *nftState
	want   nftWant
	gone   func(comment string) bool
}

// alive tells whether any network or attachment keeps anything.
func (d *nftDifference) alive() bool {
	for b := range d.now.blocks {
		if isOurs(b.comment) && b.comment != layout && !d.gone(b.comment) {
			return true
		}
	}
	return slices.ContainsFunc(d.now.elements, func(e element) bool { return !d.gone(e.comment) && !d.without(e) })
}

func (d *nftDifference) without(e element) bool {
	return slices.ContainsFunc(d.want.without, func(w element) bool { return w.sameKey(e) })
}

// administered tells whether the administrator has rules in our table.
func (d *nftDifference) administered() bool {
	for b := range d.now.blocks {
		if !isOurs(b.comment) {
			return true
		}
	}
	return false
}

func (d *nftDifference) write() error {
	wanted := map[block][]rule{}
	var order []block
	for _, p := range unique(d.want.rules) {
		b := block{p.chain.name, p.comment}
		if wanted[b] == nil {
			order = append(order, b)
		}
		wanted[b] = append(wanted[b], p.rule)
	}
	if len(d.want.chains) > 0 {
		if err := d.create(); err != nil {
			return err
		}
	}
	for b, handles := range d.now.blocks {
		if len(wanted[b]) != len(handles) && (wanted[b] != nil || d.mayGo(b.comment)) {
			if err := d.writer.deleteBlock(b, handles); err != nil {
				return err
			}
		}
	}
	for _, b := range order {
		if len(wanted[b]) != len(d.now.blocks[b]) {
			d.writer.addBlock(b, wanted[b])
		}
	}
	if err := d.writeElements(); err != nil {
		return err
	}
	return d.prune(wanted)
}

// create makes the table where its shared part is missing, and the chains.
func (d *nftDifference) create() error {
	if !d.now.chains[nftChain(chainPublish)] {
		if err := d.writer.create(); err != nil {
			return err
		}
	}
	made := maps.Clone(d.now.chains)
	for _, name := range d.want.chains {
		if !isNFTHook(name) && !made[name] {
			made[name] = true
			d.writer.conn.AddChain(d.writer.chain(name))
		}
	}
	return nil
}

// mayGo tells whether a block that is not wanted goes.
func (d *nftDifference) mayGo(comment string) bool {
	switch {
	case !isOurs(comment) || comment == layout:
		return false
	case strings.HasPrefix(comment, prefix+" layout="):
		return true
	}
	return d.gone(comment)
}

// writeElements compares the elements with those that were read; when none
// were, all wanted ones are added, which changes nothing for those that are
// there.
func (d *nftDifference) writeElements() error {
	add, remove := uniqueElements(d.want.elements), d.want.without
	index := make(map[string]int, len(add))
	for i, e := range add {
		index[e.id()] = i
	}
	present := map[int]bool{}
	for _, e := range d.now.elements {
		i, wanted := index[e.id()]
		switch {
		case wanted && e.equal(add[i]):
			present[i] = true
		case wanted || d.gone(e.comment):
			remove = append(remove, e)
		}
	}
	var missing []element
	for i, e := range add {
		if !present[i] {
			missing = append(missing, e)
		}
	}
	if err := d.writer.deleteElements(remove); err != nil {
		return err
	}
	return d.writer.addElements(missing)
}

// id identifies an element among all sets.
func (e element) id() string { return e.set + "\x00" + string(e.key) + "\x00" + string(e.until) }

func (e element) sameKey(other element) bool { return e.id() == other.id() }

func (e element) equal(other element) bool {
	return bytes.Equal(e.value, other.value) && e.comment == other.comment
}

// prune deletes the chains of networks that nobody wants and that end up
// without rules, and the map elements that lead to them.
func (d *nftDifference) prune(wanted map[block][]rule) error {
	full := map[string]bool{}
	for b := range d.now.blocks {
		if wanted[b] != nil || !d.mayGo(b.comment) {
			full[b.chain] = true
		}
	}
	for name := range d.now.chains {
		if full[name] || slices.Contains(d.want.chains, name) {
			continue
		}
		if err := d.pruneChain(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *nftDifference) pruneChain(name string) error {
	var err error
	dispatch, device := dispatchTo(name)
	switch {
	case dispatch != "":
		err = d.writer.deleteElements([]element{{set: dispatch, key: deviceKey(device)}})
	case !isNetworks(chain{name: strings.ToUpper(name)}): // see nftChain
		return nil
	}
	d.writer.conn.DelChain(d.writer.chain(name))
	return err
}

// dispatchTo reads the map, and the device in it, that leads to a chain.
func dispatchTo(name string) (dispatch, device string) {
	for _, d := range []struct{ prefix, set string }{
		{"guard-to-", nftGuardIngress}, {"guard-from-", nftGuardEgress}, {"to-", nftIngress}, {"from-", nftEgress},
	} {
		if device, found := strings.CutPrefix(name, d.prefix); found {
			return d.set, device
		}
	}
	return "", ""
}

// uniqueElements leaves out what is wanted twice.
func uniqueElements(all []element) []element {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(all), func(e element) bool {
		twice := seen[e.id()]
		seen[e.id()] = true
		return twice
	})
}
