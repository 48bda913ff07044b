package firewall

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// FenceTable holds the fence of an overlay, one table for each address family:
// in a table for both, every look at an address would first have to ask for the
// family. It is apart from the table of the attachments' rules, and there
// whichever mechanism these use: it only drops and marks, and a drop is final
// whatever other tables say.
const FenceTable = "netctl-overlay"

// Sets and maps of the fence.
const (
	fenceMembers = "members"
	fenceRanges  = "ranges"
	fenceOwn     = "own"
	fencePeers   = "peers"
	fenceGroups  = "groups"  // pool of a peer -> group, for what comes without tunnel
	fenceSenders = "senders" // own pool -> group, for what leaves without tunnel
	fenceHosts   = "hosts"   // own address -> group
	fenceBridges = "bridges" // device of a network
	fenceLeaving = "leaving" // bridge -> group
	fenceAdmit   = "admit"   // group . bridge
	fenceFast    = "fast"    // containers that take the fast path
	fenceFastTo  = "fast-to" // pools that they reach by it
)

// fenceVersion counts up when the names, the kinds or the chains below change.
const fenceVersion = 5

// ApplyFence makes the fence this one, in one transaction, and tells whether
// anything had to be written. With keep nobody is shut out who was let in: there
// may be more than is known.
//
// What it was made from is in the names of chains, so that to find it
// unchanged takes a look at the chains' names, and so does each part of it that
// changes by itself: of a container that comes the peers' sets need not be read.
// Who comes and goes changes elements of the sets, and rules, and nothing else: a
// table that is replaced as a whole drops packets, since for some 20 microseconds
// the kernel (6.18) asks maps whose elements are gone already on behalf of rules
// that still apply.
func ApplyFence(f wire.Fence, keep bool) (written bool, err error) {
	conn, letGo, err := fenceConn()
	if err != nil {
		return false, err
	}
	defer letGo()
	have, err := fenceMarks(conn)
	if err != nil {
		return false, err
	}
	want := markOf(f)
	if have == want || keep && have == have.keeping(want) {
		return false, nil
	}
	change := have[markShape] == want[markShape]
	if keep && change {
		want = have.keeping(want)
	}
	if !change {
		deleteFence(conn)
	}
	for _, v := range families() {
		w := &fenceWriter{conn: conn, family: v, fence: f, table: &nft.Table{Name: FenceTable, Family: v.table()}, sets: map[string]*nft.Set{}}
		if change {
			w.change(have, want, keep)
		} else {
			w.declare(want)
		}
		err = errors.Join(err, w.err)
	}
	if err := errors.Join(err, conn.Flush()); err != nil {
		if keep && change {
			return ApplyFence(f, false) // what is kept may contradict what is new
		}
		return false, fmt.Errorf("nftables: fence of %s: %w", f.Device, err)
	}
	return true, nil
}

// fenceConn opens one socket for all that is asked and written. letGo closes it
// aside: after a transaction that deletes anything closing waits for an RCU grace
// period, some 10 ms, in which the kernel frees the memory (nft_rcv_nl_event).
// What was written applies before.
func fenceConn() (conn *nft.Conn, letGo func(), err error) {
	conn, err = nft.New(nft.AsLasting())
	if err != nil {
		return nil, nil, fmt.Errorf("nftables: %w", err)
	}
	return conn, func() { go func() { _ = conn.CloseLasting() }() }, nil
}

// FenceStands tells whether there is a fence of this tunnel, whoever it lets in.
func FenceStands(f wire.Fence) (bool, error) {
	conn, letGo, err := fenceConn()
	if err != nil {
		return false, err
	}
	defer letGo()
	have, err := fenceMarks(conn)
	return have[markGuards] == guards(f), err
}

// guards names the tunnel that a fence is of. A tunnel that was made anew has
// another.
func guards(f wire.Fence) string {
	return fenceGuards + hash(16, fmt.Sprintf("%s %v %v %s %v", f.Device, f.Tunnel, f.Underlay, f.Direct, f.Local))
}

// A fenceMark is the names of chains without rules, which say what the tables were
// made from.
type fenceMark [5]string

// What each of them stands for.
const (
	markShape  = iota // what only whole tables can change
	markSays          // what the rules say
	markGuards        // which tunnel it is
	markOthers        // what the peers' sets hold
	markOwn           // what this host's sets hold
)

// Their names begin with these.
const (
	fenceShape  = "made-from-"
	fenceGuards = "guards-"
	fenceHolds  = "holds-"
	fenceMore   = "more-than-" // comes then: something was kept, too
)

func markPrefixes() fenceMark {
	return fenceMark{fenceShape, "says-", fenceGuards, fenceHolds, "has-"}
}

func markOf(f wire.Fence) fenceMark {
	var containers, fast []string
	for _, n := range f.Fast.Networks {
		containers, fast = append(containers, fmt.Sprint(n.Containers)), append(fast, n.Bridge)
	}
	texts := fenceMark{
		markShape:  shapeOf(f),
		markSays:   fmt.Sprintf("%s %v %v %v %v %s %v %+v %q", f.Device, f.Tunnel, f.Underlay, f.Port, f.Local, f.Direct, f.Own, f.Networks, fast),
		markOthers: othersText(f),
		markOwn:    fmt.Sprintf("%v %+v %q", f.Own, f.Networks, containers),
	}
	m := markPrefixes()
	for i, text := range texts {
		m[i] += hash(16, text)
	}
	m[markGuards] = guards(f)
	return m
}

// othersText is of thousands of addresses, and needed at each look, so it is not
// left to reflection.
func othersText(f wire.Fence) string {
	var text []byte
	for _, a := range f.Members {
		text = append(a.AppendTo(text), ' ')
	}
	for _, r := range f.Ranges {
		text = append(r.AppendTo(text), ' ')
	}
	for _, p := range f.Peers {
		text = binary.BigEndian.AppendUint16(p.Pool.AppendTo(text), p.Group)
	}
	return string(text) + " " + peersText(f.Fast)
}

// keeping is the mark of the tables m after they were changed into want and have
// kept what they had.
func (m fenceMark) keeping(want fenceMark) fenceMark {
	for _, i := range []int{markOthers, markOwn} {
		prefix := markPrefixes()[i]
		if m[i] != want[i] {
			want[i] = prefix + fenceMore + strings.TrimPrefix(want[i], prefix)
		}
	}
	return want
}

// shapeOf is what sets and chains depend on, and only whole tables can change.
func shapeOf(f wire.Fence) string {
	text := fmt.Sprint(fenceVersion, f.Direct != "")
	for _, v := range families() {
		text += fmt.Sprint(" ", sizeFor(len(v.addrs(f.Members))))
	}
	return text
}

// fenceMarks finds the mark; none where the tables of the families differ.
func fenceMarks(conn *nft.Conn) (fenceMark, error) {
	var all []fenceMark
	for _, v := range families() {
		chains, err := conn.ListChainsOfTableFamily(v.table())
		if err != nil {
			return fenceMark{}, fmt.Errorf("nftables: list chains: %w", err)
		}
		var m fenceMark
		for _, c := range chains {
			for i, prefix := range markPrefixes() {
				if c.Table.Name == FenceTable && strings.HasPrefix(c.Name, prefix) {
					m[i] = c.Name
				}
			}
		}
		all = append(all, m)
	}
	if slices.ContainsFunc(all, func(m fenceMark) bool { return m != all[0] }) {
		return fenceMark{}, nil
	}
	return all[0], nil
}

// deleteFence deletes the tables, and the one for both families that earlier
// versions made. Each is added first, so that there is one to delete.
func deleteFence(conn *nft.Conn) {
	for _, kind := range []nft.TableFamily{nft.TableFamilyINet, ipv4.table(), ipv6.table()} {
		table := conn.AddTable(&nft.Table{Name: FenceTable, Family: kind})
		conn.DelTable(table)
	}
}

// RemoveFence takes the fence away; none is no error.
func RemoveFence() error {
	conn, letGo, err := fenceConn()
	if err != nil {
		return err
	}
	defer letGo()
	deleteFence(conn)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: remove tables %s: %w", FenceTable, err)
	}
	return nil
}

// fenceWriter collects the fence of one family.
type fenceWriter struct {
	conn   *nft.Conn
	family family
	fence  wire.Fence
	table  *nft.Table
	sets   map[string]*nft.Set
	err    error
}

// declare makes the table, the sets with their elements, and the rules.
func (w *fenceWriter) declare(mark fenceMark) {
	w.conn.AddTable(w.table)
	for _, c := range append(w.contents(markOthers), w.contents(markOwn)...) {
		w.err = errors.Join(w.err, w.conn.AddSet(c.set, nil))
		w.put(c.set, c.elements)
	}
	w.mark(fenceMark{}, mark)
	w.rules()
}

// mark has the chains say what there is now.
func (w *fenceWriter) mark(before, now fenceMark) {
	for i, name := range now {
		if name == before[i] {
			continue
		}
		if before[i] != "" {
			w.conn.DelChain(&nft.Chain{Table: w.table, Name: before[i]})
		}
		w.conn.AddChain(&nft.Chain{Table: w.table, Name: name})
	}
}

// change takes elements out of the sets and puts others in, and empties the
// chains for other rules, as far as they are not the same.
func (w *fenceWriter) change(before, now fenceMark, keep bool) {
	if before[markSays] != now[markSays] {
		for _, name := range w.chains() {
			w.conn.FlushChain(&nft.Chain{Table: w.table, Name: name})
		}
	}
	for _, part := range []int{markOthers, markOwn} {
		if before[part] != now[part] {
			w.update(w.contents(part), keep)
		}
	}
	w.mark(before, now)
	if before[markSays] != now[markSays] {
		w.rules()
	}
}

// update makes the sets hold what they should.
func (w *fenceWriter) update(contents []content, keep bool) {
	for _, c := range contents {
		have, err := w.conn.GetSetElements(c.set)
		if err != nil {
			w.err = errors.Join(w.err, fmt.Errorf("read set %s: %w", c.set.Name, err))
			continue
		}
		fresh, gone := c.differences(have, keep)
		for part := range slices.Chunk(gone, chunk) {
			w.err = errors.Join(w.err, w.conn.SetDeleteElements(c.set, part))
		}
		w.put(c.set, fresh)
	}
}

func (w *fenceWriter) put(s *nft.Set, elements []nft.SetElement) {
	for part := range slices.Chunk(elements, chunk) {
		w.err = errors.Join(w.err, w.conn.SetAddElements(s, part))
	}
}

// contents are the sets of a part with their elements.
func (w *fenceWriter) contents(part int) []content {
	all := w.ownContents()
	if part == markOthers {
		all = w.othersContents()
	}
	for _, c := range all {
		c.set.Table = w.table
		w.sets[c.set.Name] = c.set
	}
	return all
}

// othersContents are the sets of the other hosts and their pools.
func (w *fenceWriter) othersContents() []content {
	v, f := w.family, w.fence
	address := addressType(v)
	members := addressElements(v, f.Members)
	all := []content{
		// A size lets the kernel choose its quickest kind of set; 0 would be any.
		{&nft.Set{Name: fenceMembers, KeyType: address, Size: sizeFor(len(members))}, members, false},
		{&nft.Set{Name: fenceRanges, KeyType: address, Interval: true}, intervals(v, ungrouped(f.Ranges), false), false},
		{&nft.Set{Name: fencePeers, KeyType: address, Interval: true}, intervals(v, f.Peers, false), false},
		{&nft.Set{Name: fenceFastTo, KeyType: address, Interval: true}, intervals(v, fastPools(f.Fast), false), false},
	}
	if f.Direct != "" {
		all = append(all, content{&nft.Set{Name: fenceGroups, KeyType: address, DataType: nft.TypeMark, IsMap: true, Interval: true}, intervals(v, f.Peers, true), false})
	}
	return all
}

// ownContents are the sets of this host's pools, networks and containers.
func (w *fenceWriter) ownContents() []content {
	v, f := w.family, w.fence
	address := addressType(v)
	var hosts, fast []nft.SetElement
	for _, n := range f.Networks {
		for _, e := range addressElements(v, n.Host) {
			hosts = append(hosts, nft.SetElement{Key: e.Key, Val: groupMark(n.Group)})
		}
	}
	for _, n := range f.Fast.Networks {
		fast = append(fast, addressElements(v, n.Containers)...)
	}
	all := networkContents(f.Networks)
	if f.Direct != "" {
		all = append(all, content{&nft.Set{Name: fenceSenders, KeyType: address, DataType: nft.TypeMark, IsMap: true, Interval: true}, intervals(v, f.Own, true), true})
	}
	return append(all,
		content{&nft.Set{Name: fenceOwn, KeyType: address, Interval: true}, intervals(v, f.Own, false), true},
		content{&nft.Set{Name: fenceFast, KeyType: address}, fast, true},
		content{&nft.Set{Name: fenceHosts, KeyType: address, DataType: nft.TypeMark, IsMap: true}, hosts, true})
}

// networkContents are the sets by bridge and group.
func networkContents(networks []wire.FencedNetwork) []content {
	var bridges, leaving, admit []nft.SetElement
	for _, n := range networks {
		bridges = append(bridges, nft.SetElement{Key: deviceKey(n.Bridge)})
		leaving = append(leaving, nft.SetElement{Key: deviceKey(n.Bridge), Val: groupMark(n.Group)})
		for _, group := range n.Admits {
			admit = append(admit, nft.SetElement{Key: append(groupMark(group), deviceKey(n.Bridge)...)})
		}
	}
	return []content{
		{&nft.Set{Name: fenceBridges, KeyType: nft.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, bridges, false},
		{&nft.Set{Name: fenceLeaving, KeyType: nft.TypeIFName, DataType: nft.TypeMark, IsMap: true, KeyByteOrder: binaryutil.NativeEndian}, leaving, false},
		{&nft.Set{Name: fenceAdmit, KeyType: nft.MustConcatSetType(nft.TypeMark, nft.TypeIFName), Concatenation: true}, admit, false},
	}
}

// A content is a set with what is in it.
type content struct {
	set      *nft.Set
	elements []nft.SetElement
	// own says what is this host's, which is known at any time.
	own bool
}

// differences are the elements to add, and those to take away before. What has
// another value, or another end, is both.
func (c content) differences(have []nft.SetElement, keep bool) (fresh, gone []nft.SetElement) {
	there, wanted := entries(have), entries(c.elements)
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if e := wanted[key]; !same(there[key], e) {
			fresh, gone = append(fresh, e...), append(gone, there[key]...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		if wanted[key] == nil && (!keep || c.own) {
			gone = append(gone, there[key]...)
		}
	}
	return fresh, gone
}

// entries are what elements stand for, by key: an element, or the two of an
// interval, which the kernel wants to hear of together and the first one first.
func entries(all []nft.SetElement) map[string][]nft.SetElement {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b nft.SetElement) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(begins(a), begins(b))) // one ends before the next begins
	})
	found, key := map[string][]nft.SetElement{}, ""
	for _, e := range sorted {
		if !e.IntervalEnd {
			key = string(e.Key)
		}
		found[key] = append(found[key], e)
	}
	return found
}

func begins(e nft.SetElement) int {
	if e.IntervalEnd {
		return 0
	}
	return 1
}

func same(a, b []nft.SetElement) bool {
	return slices.EqualFunc(a, b, func(a, b nft.SetElement) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Val, b.Val) })
}

// sizeFor leaves room to grow in: a larger one is another set.
func sizeFor(members int) uint32 {
	size := 16
	for size < 2*members {
		size *= 2
	}
	return uint32(size)
}

func groupMark(group uint16) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(group)) }

func addressElements(f family, all []netip.Addr) []nft.SetElement {
	var elements []nft.SetElement
	for _, a := range f.addrs(all) {
		elements = append(elements, nft.SetElement{Key: a.AsSlice()})
	}
	return elements
}

func addressType(f family) nft.SetDatatype {
	if f == ipv6 {
		return nft.TypeIP6Addr
	}
	return nft.TypeIPAddr
}

func ungrouped(all []netip.Prefix) []wire.Grouped {
	var result []wire.Grouped
	for _, p := range all {
		result = append(result, wire.Grouped{Pool: p})
	}
	return result
}

// intervals are the prefixes as the kernel's interval sets want them: where
// each begins, and behind its end a mark that it ended. They are not joined with
// their neighbours, so that one that goes leaves the others alone; the set takes
// none that overlap.
func intervals(f family, all []wire.Grouped, valued bool) []nft.SetElement {
	var mine []wire.Grouped
	for _, g := range all {
		if g.Pool.Addr().Is4() == (f == ipv4) {
			mine = append(mine, g)
		}
	}
	slices.SortFunc(mine, func(a, b wire.Grouped) int {
		return cmp.Or(a.Pool.Addr().Compare(b.Pool.Addr()), cmp.Compare(a.Pool.Bits(), b.Pool.Bits()))
	})
	var elements []nft.SetElement
	var around netip.Prefix
	for _, g := range mine {
		if around.IsValid() && around.Overlaps(g.Pool) {
			continue // inside it, since the wider one comes first
		}
		around = g.Pool
		start := nft.SetElement{Key: g.Pool.Masked().Addr().AsSlice()}
		if valued {
			start.Val = groupMark(g.Group)
		}
		elements = append(elements, start)
		if end := lastOf(g.Pool).Next(); end.IsValid() {
			elements = append(elements, nft.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
