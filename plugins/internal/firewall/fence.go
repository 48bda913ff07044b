package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

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
	fenceHosts   = "hosts"   // own address -> group
	fenceBridges = "bridges" // device of a network
	fenceLeaving = "leaving" // bridge -> group
	fenceAdmit   = "admit"   // group . bridge
)

// ApplyFence makes the fence this one, in one transaction, and tells whether
// anything had to be written. What it was made from is in the name of a chain,
// so that to find it unchanged takes a look at the chains' names.
func ApplyFence(f wire.Fence) (written bool, err error) {
	conn, err := nft.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	mark := "made-from-" + hash(16, fmt.Sprintf("%+v", f))
	if current, err := hasFence(conn, mark); current || err != nil {
		return false, err
	}
	deleteFence(conn)
	for _, v := range families() {
		w := &fenceWriter{conn: conn, family: v, fence: f,
			table: conn.AddTable(&nft.Table{Name: FenceTable, Family: v.table()}), sets: map[string]*nft.Set{}}
		conn.AddChain(&nft.Chain{Table: w.table, Name: mark})
		conn.AddChain(&nft.Chain{Table: w.table, Name: guards(f)})
		w.declare()
		w.rules()
		err = errors.Join(err, w.err)
	}
	if err := errors.Join(err, conn.Flush()); err != nil {
		return false, fmt.Errorf("nftables: fence of %s: %w", f.Device, err)
	}
	return true, nil
}

// FenceStands tells whether there is a fence of this tunnel, whoever it lets in.
func FenceStands(f wire.Fence) (bool, error) {
	conn, err := nft.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	return hasFence(conn, guards(f))
}

// guards names the tunnel that a fence is of. A tunnel that was made anew has
// another.
func guards(f wire.Fence) string {
	return "guards-" + hash(16, fmt.Sprintf("%s %v %v %s %v", f.Device, f.Tunnel, f.Underlay, f.Direct, f.Local))
}

// hasFence tells whether both tables have a mark.
func hasFence(conn *nft.Conn, mark string) (bool, error) {
	for _, v := range families() {
		chains, err := conn.ListChainsOfTableFamily(v.table())
		if err != nil {
			return false, fmt.Errorf("nftables: list chains: %w", err)
		}
		if !slices.ContainsFunc(chains, func(c *nft.Chain) bool { return c.Table.Name == FenceTable && c.Name == mark }) {
			return false, nil
		}
	}
	return true, nil
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
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
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

// declare makes the sets with their elements.
func (w *fenceWriter) declare() {
	v, f := w.family, w.fence
	address := map[family]nft.SetDatatype{ipv4: nft.TypeIPAddr, ipv6: nft.TypeIP6Addr}[v]
	members := addressElements(v, f.Members)
	// A size lets the kernel choose its quickest kind of set; 0 would be any.
	w.set(&nft.Set{Name: fenceMembers, KeyType: address, Constant: true, Size: uint32(max(len(members), 1))}, members)
	w.set(&nft.Set{Name: fenceRanges, KeyType: address, Interval: true}, intervals(v, ungrouped(f.Ranges), false))
	w.set(&nft.Set{Name: fenceOwn, KeyType: address, Interval: true}, intervals(v, f.Own, false))
	w.set(&nft.Set{Name: fencePeers, KeyType: address, Interval: true}, intervals(v, ungrouped(pools(f.Peers)), false))
	if f.Direct != "" {
		w.set(&nft.Set{Name: fenceGroups, KeyType: address, DataType: nft.TypeMark, IsMap: true, Interval: true}, intervals(v, f.Peers, true))
	}
	var hosts []nft.SetElement
	for _, n := range f.Networks {
		for _, e := range addressElements(v, n.Host) {
			hosts = append(hosts, nft.SetElement{Key: e.Key, Val: groupMark(n.Group)})
		}
	}
	w.set(&nft.Set{Name: fenceHosts, KeyType: address, DataType: nft.TypeMark, IsMap: true}, hosts)
	w.declareNetworks()
}

// declareNetworks makes the sets by bridge and group.
func (w *fenceWriter) declareNetworks() {
	var bridges, leaving, admit []nft.SetElement
	for _, n := range w.fence.Networks {
		bridges = append(bridges, nft.SetElement{Key: deviceKey(n.Bridge)})
		leaving = append(leaving, nft.SetElement{Key: deviceKey(n.Bridge), Val: groupMark(n.Group)})
		for _, group := range n.Admits {
			admit = append(admit, nft.SetElement{Key: append(groupMark(group), deviceKey(n.Bridge)...)})
		}
	}
	w.set(&nft.Set{Name: fenceBridges, KeyType: nft.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, bridges)
	w.set(&nft.Set{Name: fenceLeaving, KeyType: nft.TypeIFName, DataType: nft.TypeMark, IsMap: true, KeyByteOrder: binaryutil.NativeEndian}, leaving)
	w.set(&nft.Set{Name: fenceAdmit, KeyType: nft.MustConcatSetType(nft.TypeMark, nft.TypeIFName), Concatenation: true}, admit)
}

func (w *fenceWriter) set(s *nft.Set, elements []nft.SetElement) {
	s.Table = w.table
	w.sets[s.Name] = s
	w.err = errors.Join(w.err, w.conn.AddSet(s, nil))
	for part := range slices.Chunk(elements, chunk) {
		w.err = errors.Join(w.err, w.conn.SetAddElements(s, part))
	}
}

func groupMark(group uint16) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(group)) }

func addressElements(f family, all []netip.Addr) []nft.SetElement {
	var elements []nft.SetElement
	for _, a := range f.addrs(all) {
		elements = append(elements, nft.SetElement{Key: a.AsSlice()})
	}
	return elements
}

func pools(all []wire.Grouped) []netip.Prefix {
	var result []netip.Prefix
	for _, g := range all {
		result = append(result, g.Pool)
	}
	return result
}

func ungrouped(all []netip.Prefix) []wire.Grouped {
	var result []wire.Grouped
	for _, p := range all {
		result = append(result, wire.Grouped{Pool: p})
	}
	return result
}

// intervals are the prefixes as the kernel's interval sets want them: where
// each begins, and behind its end a mark that it ended. Neighbours with the same
// value are joined, which keeps the pools of a thousand hosts to a few.
func intervals(f family, all []wire.Grouped, valued bool) []nft.SetElement {
	var mine []wire.Grouped
	for _, g := range all {
		if g.Pool.Addr().Is4() == (f == ipv4) {
			mine = append(mine, g)
		}
	}
	slices.SortFunc(mine, func(a, b wire.Grouped) int { return a.Pool.Addr().Compare(b.Pool.Addr()) })
	type run struct {
		from, last netip.Addr
		group      uint16
	}
	var runs []run
	for _, g := range mine {
		from, last := g.Pool.Masked().Addr(), lastOf(g.Pool)
		if n := len(runs); n > 0 && runs[n-1].group == valueOf(g, valued) && !runs[n-1].last.Next().Less(from) {
			if runs[n-1].last.Less(last) {
				runs[n-1].last = last
			}
			continue
		}
		runs = append(runs, run{from, last, valueOf(g, valued)})
	}
	var elements []nft.SetElement
	for _, r := range runs {
		start := nft.SetElement{Key: r.from.AsSlice()}
		if valued {
			start.Val = groupMark(r.group)
		}
		elements = append(elements, start)
		if end := r.last.Next(); end.IsValid() {
			elements = append(elements, nft.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

func valueOf(g wire.Grouped, valued bool) uint16 {
	if valued {
		return g.Group
	}
	return 0
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}
