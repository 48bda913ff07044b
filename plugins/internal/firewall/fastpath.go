package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Maps of the fast path, by address family. They live in a table of the devices
// (netdev), whose hook comes before the bridge's and the tunnel's packets are
// routed.
const (
	fastNext    = "next"    // pool of a peer -> next hop on the tunnel
	fastInward  = "inward"  // group . container -> number of its bridge
	fastOutward = "outward" // number of the bridge . container -> group
)

// ApplyFastPath makes the fast path of a fence this one, and tells whether
// anything had to be written. What is not in it goes through the rules, which
// makes it harmless to take it away and to make it anew. A chain goes with its
// device, and so no fast path outlives the tunnel or the bridge that it is of.
func ApplyFastPath(f wire.Fence) (written bool, err error) {
	conn, err := nft.New()
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	have, there, err := fastMark(conn)
	if err != nil {
		return false, err
	}
	w := &fastWriter{conn: conn, fence: f, table: &nft.Table{Name: FenceTable, Family: nft.TableFamilyNetdev}, sets: map[string]*nft.Set{}}
	mark := fenceShape + hash(16, fmt.Sprintf("%d %s %d %+v", fenceVersion, f.Device, f.Tunnel, f.Fast))
	switch none := len(w.networks()) == 0; {
	case none && !there, !none && have == mark:
		return false, nil
	case none:
		return true, RemoveFastPath()
	}
	if err := w.write(mark); err != nil {
		return false, fmt.Errorf("nftables: fast path of %s: %w", f.Device, err)
	}
	return true, nil
}

// RemoveFastPath takes the fast path away; none is no error.
func RemoveFastPath() error {
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	conn.DelTable(conn.AddTable(&nft.Table{Name: FenceTable, Family: nft.TableFamilyNetdev}))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: remove table netdev %s: %w", FenceTable, err)
	}
	return nil
}

// fastMark finds what the table was made from, and whether there is one.
func fastMark(conn *nft.Conn) (mark string, there bool, err error) {
	chains, err := conn.ListChainsOfTableFamily(nft.TableFamilyNetdev)
	if err != nil {
		return "", false, fmt.Errorf("nftables: list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name == FenceTable {
			there = true
			if strings.HasPrefix(c.Name, fenceShape) {
				mark = c.Name
			}
		}
	}
	return mark, there, nil
}

// fastContents are what the fence must know of the fast path.
func fastContents(v family, f wire.FastPath) (containers, pools []nft.SetElement) {
	var to []wire.Grouped
	for _, p := range f.Peers {
		to = append(to, wire.Grouped{Pool: p.Pool})
	}
	for _, n := range f.Networks {
		containers = append(containers, addressElements(v, n.Containers)...)
	}
	return containers, intervals(v, to, false)
}

// fastWriter writes the table.
type fastWriter struct {
	conn  *nft.Conn
	fence wire.Fence
	table *nft.Table
	sets  map[string]*nft.Set
}

// networks are those that have a bridge and containers now.
func (w *fastWriter) networks() []wire.FastNetwork {
	return slices.DeleteFunc(slices.Clone(w.fence.Fast.Networks), func(n wire.FastNetwork) bool {
		return n.Number == 0 || len(n.Containers) == 0
	})
}

// write replaces the table. The rules are in a second transaction, with the
// chain that says that all is there: the library knows no fwd.
func (w *fastWriter) write(mark string) error {
	w.conn.DelTable(w.conn.AddTable(w.table))
	w.conn.AddTable(w.table)
	for _, v := range families() {
		if err := w.declare(v); err != nil {
			return err
		}
	}
	chains := []string{w.fence.Device}
	for _, n := range w.networks() {
		chains = append(chains, n.Bridge)
	}
	for _, device := range chains {
		w.conn.AddChain(&nft.Chain{Table: w.table, Name: fromDevice(device), Device: device,
			Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookIngress, Priority: nft.ChainPriorityFilter})
	}
	if err := w.conn.Flush(); err != nil {
		return err
	}
	return w.writeRules(mark)
}

func fromDevice(name string) string { return "from-" + name }

// declare makes the maps of a family.
func (w *fastWriter) declare(v family) error {
	address := map[family]nft.SetDatatype{ipv4: nft.TypeIPAddr, ipv6: nft.TypeIP6Addr}[v]
	var inward, outward []nft.SetElement
	for _, n := range w.networks() {
		group, number := groupMark(n.Group), binary.NativeEndian.AppendUint32(nil, n.Number)
		for _, a := range v.addrs(n.Containers) {
			inward = append(inward, nft.SetElement{Key: slices.Concat(group, a.AsSlice()), Val: number})
			outward = append(outward, nft.SetElement{Key: slices.Concat(number, a.AsSlice()), Val: group})
		}
	}
	for i, c := range []content{
		{set: &nft.Set{Name: fastNext, KeyType: address, DataType: address, IsMap: true, Interval: true}, elements: hops(v, w.fence.Fast.Peers)},
		{set: &nft.Set{Name: fastInward, KeyType: nft.MustConcatSetType(nft.TypeMark, address), DataType: nft.TypeIFIndex, IsMap: true, Concatenation: true}, elements: inward},
		{set: &nft.Set{Name: fastOutward, KeyType: nft.MustConcatSetType(nft.TypeIFIndex, address), DataType: nft.TypeMark, IsMap: true, Concatenation: true}, elements: outward},
	} {
		c.set.Table, c.set.Name, c.set.ID = w.table, fastSet(v, c.set.Name), uint32(v)<<8+uint32(i)+1
		if err := w.conn.AddSet(c.set, nil); err != nil {
			return fmt.Errorf("declare map %s: %w", c.set.Name, err)
		}
		for part := range slices.Chunk(c.elements, chunk) {
			if err := w.conn.SetAddElements(c.set, part); err != nil {
				return fmt.Errorf("fill map %s: %w", c.set.Name, err)
			}
		}
	}
	return nil
}

// fastSet is a map's name: a table of devices has both families.
func fastSet(v family, name string) string {
	if v == ipv6 {
		return name + "6"
	}
	return name
}

// hops are the intervals of pools with their next hops.
func hops(v family, all []wire.FastPeer) []nft.SetElement {
	via := map[netip.Addr]netip.Addr{}
	var pools []wire.Grouped
	for _, p := range all {
		via[p.Pool.Masked().Addr()] = p.Via
		pools = append(pools, wire.Grouped{Pool: p.Pool})
	}
	elements := intervals(v, pools, false)
	for i := range elements {
		if e := &elements[i]; !e.IntervalEnd {
			first, _ := netip.AddrFromSlice(e.Key)
			e.Val = via[first].AsSlice()
		}
	}
	return elements
}

// writeRules fills the chains.
func (w *fastWriter) writeRules(mark string) error {
	m, err := messageTo(w.table.Family, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE,
		text(unix.NFTA_CHAIN_TABLE, FenceTable), text(unix.NFTA_CHAIN_NAME, mark))
	messages := []nftMessage{m}
	for _, v := range families() {
		inward := fastInwardRule(v)
		messages, err = inward.add(messages, w.fence.Device, err)
		outward := fastOutwardRule(v, w.fence.Tunnel)
		for _, n := range w.networks() {
			messages, err = outward.add(messages, n.Bridge, err)
		}
	}
	if err != nil {
		return err
	}
	s, err := dialNFT()
	if err != nil {
		return err
	}
	defer unix.Close(s.fd)
	return s.transact(messages, anyGeneration)
}
