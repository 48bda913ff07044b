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

// FenceTable holds the fence of an overlay. It is apart from the table of the
// attachments' rules, and there whichever mechanism these use: it only drops
// and marks, and a drop is final whatever other tables say.
const FenceTable = "netctl-overlay"

// Sets and maps of the fence, with "4" or "6" appended where they hold addresses.
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
// so that to find it unchanged takes one look.
func ApplyFence(f wire.Fence) (written bool, err error) {
	conn, err := nft.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	mark := "made-from-" + hash(16, fmt.Sprintf("%+v", f))
	chains, err := conn.ListChainsOfTableFamily(nft.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("nftables: list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name == FenceTable && c.Name == mark {
			return false, nil
		}
	}
	w := &fenceWriter{conn: conn, table: &nft.Table{Name: FenceTable, Family: nft.TableFamilyINet}, sets: map[string]*nft.Set{}}
	conn.AddTable(w.table) // so that there is one to delete
	conn.DelTable(w.table)
	conn.AddTable(w.table)
	conn.AddChain(&nft.Chain{Table: w.table, Name: mark})
	w.declare(f)
	w.rules(f)
	if err := errors.Join(w.err, conn.Flush()); err != nil {
		return false, fmt.Errorf("nftables: fence of %s: %w", f.Device, err)
	}
	return true, nil
}

// RemoveFence takes the fence away; none is no error.
func RemoveFence() error {
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	table := &nft.Table{Name: FenceTable, Family: nft.TableFamilyINet}
	if _, err := conn.ListTableOfFamily(FenceTable, nft.TableFamilyINet); err != nil {
		return nil // the kernel's answer for one that is not there differs by version
	}
	conn.DelTable(table)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: remove table %s: %w", FenceTable, err)
	}
	return nil
}

type fenceWriter struct {
	conn  *nft.Conn
	table *nft.Table
	sets  map[string]*nft.Set
	err   error
}

// declare makes the sets with their elements.
func (w *fenceWriter) declare(f wire.Fence) {
	for _, v := range []family{ipv4, ipv6} {
		address := map[family]nft.SetDatatype{ipv4: nft.TypeIPAddr, ipv6: nft.TypeIP6Addr}[v]
		w.set(&nft.Set{Name: fenceMembers + v.digit(), KeyType: address}, addressElements(v, f.Members))
		w.set(&nft.Set{Name: fenceRanges + v.digit(), KeyType: address, Interval: true}, intervals(v, ungrouped(f.Ranges), false))
		w.set(&nft.Set{Name: fenceOwn + v.digit(), KeyType: address, Interval: true}, intervals(v, f.Own, false))
		w.set(&nft.Set{Name: fencePeers + v.digit(), KeyType: address, Interval: true}, intervals(v, ungrouped(pools(f.Peers)), false))
		if f.Direct != "" {
			w.set(&nft.Set{Name: fenceGroups + v.digit(), KeyType: address, DataType: nft.TypeMark, IsMap: true, Interval: true}, intervals(v, f.Peers, true))
		}
		var hosts []nft.SetElement
		for _, n := range f.Networks {
			for _, e := range addressElements(v, n.Host) {
				hosts = append(hosts, nft.SetElement{Key: e.Key, Val: groupMark(n.Group)})
			}
		}
		w.set(&nft.Set{Name: fenceHosts + v.digit(), KeyType: address, DataType: nft.TypeMark, IsMap: true}, hosts)
	}
	var bridges, leaving, admit []nft.SetElement
	for _, n := range f.Networks {
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

func (f family) digit() string {
	if f == ipv4 {
		return "4"
	}
	return "6"
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
