package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
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

// ErrNoFastPath means that the kernel has no such thing: it was built without
// nft_fwd_netdev, or without tables of devices.
var ErrNoFastPath = errors.New("this kernel has no fwd in tables netdev (nft_fwd_netdev)")

// ApplyFastPath makes the fast path of a fence this one, and tells whether
// anything had to be written. What is not in it goes through the rules, which
// makes it harmless to take it away and to make it anew.
//
// As with a fence, the names of chains say what it was made from, for each part
// that changes by itself: a container that comes costs a look at these names and
// a few elements, however many peers there are. The whole table is replaced only
// when the tunnel is another one.
func ApplyFastPath(f wire.Fence) (written bool, err error) {
	conn, letGo, err := fenceConn()
	if err != nil {
		return false, err
	}
	defer letGo()
	w := newFastWriter(conn, f, "fwd")
	have, err := w.find()
	if err != nil {
		return false, err
	}
	want := w.mark()
	switch none := len(w.networks()) == 0; {
	case none && !have.there, !none && have.fastMark == want:
		return false, nil
	case none:
		return true, removeFastPath(conn)
	}
	if have.form == want.form {
		err = w.change(have, want)
	}
	if have.form != want.form || err != nil { // somebody else may have been at it
		err = w.write(want)
	}
	if err != nil {
		return false, fmt.Errorf("nftables: fast path of %s: %w", f.Device, w.refused(err))
	}
	return true, nil
}

// HasFastPath tells whether there is any.
func HasFastPath() (bool, error) {
	conn, letGo, err := fenceConn()
	if err != nil {
		return false, err
	}
	defer letGo()
	found, err := newFastWriter(conn, wire.Fence{}, "").find()
	return found.there, err
}

// RemoveFastPath takes the fast path away; none is no error.
func RemoveFastPath() error {
	conn, letGo, err := fenceConn()
	if err != nil {
		return err
	}
	defer letGo()
	return removeFastPath(conn)
}

func removeFastPath(conn *nft.Conn) error {
	conn.DelTable(conn.AddTable(&nft.Table{Name: FenceTable, Family: nft.TableFamilyNetdev}))
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables: remove table netdev %s: %w", FenceTable, err)
	}
	return nil
}

// A fastMark is the names of three chains without rules: what the maps and the
// tunnel's chain were made from, the peers, and this host's networks.
type fastMark struct{ form, peers, networks string }

// beside are the names that others have not.
func (m fastMark) beside(o fastMark) (names []string) {
	for _, pair := range [][2]string{{m.form, o.form}, {m.peers, o.peers}, {m.networks, o.networks}} {
		if pair[0] != pair[1] {
			names = append(names, pair[0])
		}
	}
	return names
}

// Their names begin with these.
const (
	fastForm     = fenceShape
	fastPeers    = "leads-to-"
	fastNetworks = fenceHolds
	fastFrom     = "from-" // the chain of a device
)

// fastVersion counts up when maps or rules below change.
const fastVersion = 5

// fastFound is what there is.
type fastFound struct {
	fastMark
	there  bool
	chains []string // of devices
}

// fastPools are those that are reached by it.
func fastPools(f wire.FastPath) (to []wire.Grouped) {
	for _, p := range f.Peers {
		to = append(to, wire.Grouped{Pool: p.Pool})
	}
	return to
}

// fastWriter writes the table.
type fastWriter struct {
	conn  *nft.Conn
	fence wire.Fence
	table *nft.Table
	// forward is the name of the kernel's expression.
	forward string
}

func newFastWriter(conn *nft.Conn, f wire.Fence, forward string) *fastWriter {
	return &fastWriter{conn: conn, fence: f, forward: forward, table: &nft.Table{Name: FenceTable, Family: nft.TableFamilyNetdev}}
}

func (w *fastWriter) mark() fastMark {
	f := w.fence
	return fastMark{
		form:     fastForm + hash(16, fmt.Sprint(fastVersion, f.Device, f.Tunnel)),
		peers:    fastPeers + hash(16, peersText(f.Fast)),
		networks: fastNetworks + hash(16, fmt.Sprint(w.networks())),
	}
}

func peersText(f wire.FastPath) string {
	var text []byte
	for _, p := range f.Peers {
		text = append(p.Via.AppendTo(append(p.Pool.AppendTo(text), ' ')), ' ')
	}
	return string(text)
}

// find reads the names of the table's chains.
func (w *fastWriter) find() (found fastFound, err error) {
	chains, err := w.conn.ListChainsOfTableFamily(nft.TableFamilyNetdev)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return found, fmt.Errorf("nftables: list chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != FenceTable {
			continue
		}
		found.there = true
		switch {
		case strings.HasPrefix(c.Name, fastForm):
			found.form = c.Name
		case strings.HasPrefix(c.Name, fastPeers):
			found.peers = c.Name
		case strings.HasPrefix(c.Name, fastNetworks):
			found.networks = c.Name
		case strings.HasPrefix(c.Name, fastFrom):
			found.chains = append(found.chains, c.Name)
		}
	}
	return found, nil
}

// networks are those that have a bridge and containers now.
func (w *fastWriter) networks() []wire.FastNetwork {
	return slices.DeleteFunc(slices.Clone(w.fence.Fast.Networks), func(n wire.FastNetwork) bool {
		return n.Number == 0 || len(n.Containers) == 0
	})
}

// A fastChain is what is done with the packets of a device.
type fastChain struct {
	device string
	rules  [2]fastRule // by family
}

func (w *fastWriter) tunnelChain() (name string, c fastChain) {
	for i, v := range families() {
		c.rules[i] = fastInwardRule(v)
	}
	c.device = w.fence.Device
	return fastFrom + c.device, c
}

// hook makes chains that come after all others of their device: what these say holds.
func (w *fastWriter) hook(chains map[string]fastChain) {
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		w.conn.AddChain(&nft.Chain{Table: w.table, Name: name, Device: chains[name].device,
			Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookIngress, Priority: nft.ChainPriorityLast})
	}
}

// bridgeChains are those of the networks' bridges, by name. A bridge that was made
// anew has another number, and so another chain: what becomes of a chain whose
// device is gone differs between kernels (it goes as well; it stays, and is for the
// next device of that name).
func (w *fastWriter) bridgeChains() map[string]fastChain {
	all := map[string]fastChain{}
	for _, n := range w.networks() {
		c := fastChain{device: n.Bridge}
		for i, v := range families() {
			c.rules[i] = fastOutwardRule(v, w.fence.Tunnel)
		}
		all[fmt.Sprintf("%s%s-%d", fastFrom, n.Bridge, n.Number)] = c
	}
	return all
}

// write replaces the table. The rules are in a second transaction, with the
// chains that say that all is there: the library knows no fwd.
func (w *fastWriter) write(mark fastMark) error {
	w.conn.DelTable(w.conn.AddTable(w.table))
	w.conn.AddTable(w.table)
	for _, c := range append(w.peerContents(), w.networkContents()...) {
		if err := w.declare(c); err != nil {
			return err
		}
	}
	chains := w.bridgeChains()
	tunnel, c := w.tunnelChain()
	chains[tunnel] = c
	w.hook(chains)
	if err := w.conn.Flush(); err != nil {
		return err
	}
	return w.writeRules(chains, mark.beside(fastMark{}))
}

// change writes what is different: elements, chains of bridges, and the names that
// say so.
func (w *fastWriter) change(have fastFound, want fastMark) error {
	var contents []content
	fresh := map[string]fastChain{}
	if have.peers != want.peers {
		contents = append(contents, w.peerContents()...)
		w.unmark(have.peers)
	}
	if have.networks != want.networks {
		contents = append(contents, w.networkContents()...)
		w.unmark(have.networks)
		fresh = w.changeChains(have.chains)
	}
	for _, c := range contents {
		if err := w.update(c); err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		if err := w.conn.Flush(); err != nil {
			return err
		}
		return w.writeRules(fresh, want.beside(have.fastMark))
	}
	for _, name := range want.beside(have.fastMark) {
		w.conn.AddChain(&nft.Chain{Table: w.table, Name: name})
	}
	return w.conn.Flush()
}

// unmark deletes a chain that tells what is so no longer; "" is none.
func (w *fastWriter) unmark(name string) {
	if name != "" {
		w.conn.DelChain(&nft.Chain{Table: w.table, Name: name})
	}
}

// changeChains deletes chains of bridges that are not to have one any more, and
// gives those that are to be filled.
func (w *fastWriter) changeChains(have []string) (fresh map[string]fastChain) {
	fresh = w.bridgeChains()
	tunnel, _ := w.tunnelChain()
	for _, name := range have {
		if _, wanted := fresh[name]; !wanted && name != tunnel {
			w.conn.FlushChain(&nft.Chain{Table: w.table, Name: name})
			w.conn.DelChain(&nft.Chain{Table: w.table, Name: name})
		}
		delete(fresh, name)
	}
	w.hook(fresh)
	return fresh
}

// declare makes a map with its elements.
func (w *fastWriter) declare(c content) error {
	if err := w.conn.AddSet(c.set, nil); err != nil {
		return fmt.Errorf("declare map %s: %w", c.set.Name, err)
	}
	return w.put(c.set, c.elements)
}

func (w *fastWriter) put(set *nft.Set, elements []nft.SetElement) error {
	for part := range slices.Chunk(elements, chunk) {
		if err := w.conn.SetAddElements(set, part); err != nil {
			return fmt.Errorf("fill map %s: %w", set.Name, err)
		}
	}
	return nil
}

// update takes elements out of a map, and puts others in.
func (w *fastWriter) update(c content) error {
	have, err := w.conn.GetSetElements(c.set)
	if err != nil {
		return fmt.Errorf("read map %s: %w", c.set.Name, err)
	}
	fresh, gone := c.differences(have, false)
	for part := range slices.Chunk(gone, chunk) {
		if err := w.conn.SetDeleteElements(c.set, part); err != nil {
			return fmt.Errorf("change map %s: %w", c.set.Name, err)
		}
	}
	return w.put(c.set, fresh)
}

// peerContents are the maps of the peers' pools.
func (w *fastWriter) peerContents() (all []content) {
	for _, v := range families() {
		address := addressType(v)
		all = append(all, w.content(v, 1, hops(v, w.fence.Fast),
			nft.Set{Name: fastNext, KeyType: address, DataType: address, IsMap: true, Interval: true}))
	}
	return all
}

// networkContents are the maps of this host's containers.
func (w *fastWriter) networkContents() (all []content) {
	for _, v := range families() {
		var inward, outward []nft.SetElement
		for _, n := range w.networks() {
			group, number := groupMark(n.Group), binary.NativeEndian.AppendUint32(nil, n.Number)
			for _, a := range v.addrs(n.Containers) {
				inward = append(inward, nft.SetElement{Key: slices.Concat(group, a.AsSlice()), Val: number})
				outward = append(outward, nft.SetElement{Key: slices.Concat(number, a.AsSlice()), Val: group})
			}
		}
		all = append(all,
			w.content(v, 2, inward, nft.Set{Name: fastInward, KeyType: nft.MustConcatSetType(nft.TypeMark, addressType(v)), DataType: nft.TypeIFIndex, IsMap: true, Concatenation: true}),
			w.content(v, 3, outward, nft.Set{Name: fastOutward, KeyType: nft.MustConcatSetType(nft.TypeIFIndex, addressType(v)), DataType: nft.TypeMark, IsMap: true, Concatenation: true}))
	}
	return all
}

// content is a map of a family, which has a number in its transaction.
func (w *fastWriter) content(v family, number uint32, elements []nft.SetElement, set nft.Set) content {
	set.Table, set.Name, set.ID = w.table, fastSet(v, set.Name), uint32(v)<<8+number
	return content{set: &set, elements: elements}
}

// fastSet is a map's name: a table of devices has both families.
func fastSet(v family, name string) string {
	if v == ipv6 {
		return name + "6"
	}
	return name
}

// hops are the intervals of pools with their next hops.
func hops(v family, f wire.FastPath) []nft.SetElement {
	via := map[netip.Addr]netip.Addr{}
	for _, p := range f.Peers {
		via[p.Pool.Masked().Addr()] = p.Via
	}
	elements := intervals(v, fastPools(f), false)
	for i := range elements {
		if e := &elements[i]; !e.IntervalEnd {
			first, _ := netip.AddrFromSlice(e.Key)
			e.Val = via[first].AsSlice()
		}
	}
	return elements
}

// writeRules fills chains, and marks the table.
func (w *fastWriter) writeRules(chains map[string]fastChain, marks []string) error {
	var messages []nftMessage
	var errs error
	for _, name := range marks {
		m, err := messageTo(w.table.Family, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE,
			text(unix.NFTA_CHAIN_TABLE, FenceTable), text(unix.NFTA_CHAIN_NAME, name))
		messages, errs = append(messages, m), errors.Join(errs, err)
	}
	for _, name := range slices.Sorted(maps.Keys(chains)) {
		for _, r := range chains[name].rules {
			m, err := r.message(name, w.forward)
			messages, errs = append(messages, m), errors.Join(errs, err)
		}
	}
	if errs != nil {
		return errs
	}
	s, err := dialNFT()
	if err != nil {
		return err
	}
	defer Park(nil).letGoOf(s.fd)
	return s.transact(messages, anyGeneration)
}

// refused tells what is not to be had on this kernel from what may be had at
// another time, and leaves nothing half done. The kernel says of a link that is
// gone what it says of an expression that it does not know.
func (w *fastWriter) refused(err error) error {
	err = errors.Join(err, ignoreUnsupported(removeFastPath(w.conn)))
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
	case !errors.Is(err, unix.ENOENT) || !isLink(w.fence.Device, w.fence.Tunnel):
		return err
	case slices.ContainsFunc(w.networks(), func(n wire.FastNetwork) bool { return !isLink(n.Bridge, n.Number) }):
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoFastPath, err)
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	return err
}

// isLink tells whether a link is still the one that had this number.
func isLink(name string, number uint32) bool {
	link, err := net.InterfaceByName(name)
	return err == nil && uint32(link.Index) == number
}
