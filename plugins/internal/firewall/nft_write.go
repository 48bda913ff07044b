package firewall

import (
	"errors"
	"fmt"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// nftWriter collects changes to our table in one family; all families of an
// operation go to the kernel in one transaction.
type nftWriter struct {
	conn   *nft.Conn
	family family
	table  *nft.Table
	sets   map[string]*nft.Set
}

// table is the kind of table with the family's rules.
func (f family) table() nft.TableFamily { return nft.TableFamily(f.netlink()) }

func newNFTWriter(conn *nft.Conn, f family) *nftWriter {
	w := &nftWriter{conn: conn, family: f, table: &nft.Table{Name: nftTable, Family: f.table()}}
	w.sets = w.declareSets()
	return w
}

// declareSets mirrors nftSets.
func (w *nftWriter) declareSets() map[string]*nft.Set {
	address := map[family]nft.SetDatatype{ipv4: nft.TypeIPAddr, ipv6: nft.TypeIP6Addr}[w.family]
	place, device := nft.MustConcatSetType(address, nft.TypeInetService), nft.TypeIFName
	ports := nft.MustConcatSetType(nft.TypeInetProto, nft.TypeInetService)
	hostPorts := nft.MustConcatSetType(address, nft.TypeInetProto, nft.TypeInetService)
	all := []*nft.Set{
		{Name: nftPublish, IsMap: true, KeyType: hostPorts, DataType: place, Concatenation: true},
		{Name: nftPublishAny, IsMap: true, KeyType: ports, DataType: place, Concatenation: true},
		{Name: nftRanges, IsMap: true, KeyType: hostPorts, DataType: address, Concatenation: true, Interval: true},
		{Name: nftAttachments, KeyType: device, KeyByteOrder: binaryutil.NativeEndian},
	}
	for _, name := range []string{nftGuardIngress, nftGuardEgress, nftIngress, nftEgress} {
		all = append(all, &nft.Set{Name: name, IsMap: true, KeyType: device, DataType: nft.TypeVerdict, KeyByteOrder: binaryutil.NativeEndian})
	}
	sets := map[string]*nft.Set{}
	for i, s := range all {
		s.Table = w.table
		// Numbers mark sets in a transaction. The library would count them
		// in a variable that all threads share.
		s.ID = uint32(w.family)<<8 + uint32(i) + 1
		sets[s.Name] = s
	}
	return sets
}

// create makes the table, the hooks and the sets; those that are there stay as
// they are.
func (w *nftWriter) create() error {
	w.conn.AddTable(w.table)
	for _, d := range nftSets(w.family) {
		if err := w.conn.AddSet(w.sets[d.name], nil); err != nil {
			return fmt.Errorf("declare set %s: %w", d.name, err)
		}
	}
	policy := nft.ChainPolicyAccept
	for _, c := range []*nft.Chain{
		{Name: "prerouting", Type: nft.ChainTypeNAT, Hooknum: nft.ChainHookPrerouting, Priority: nft.ChainPriorityNATDest},
		{Name: "output", Type: nft.ChainTypeNAT, Hooknum: nft.ChainHookOutput, Priority: nft.ChainPriorityNATDest},
		{Name: "postrouting", Type: nft.ChainTypeNAT, Hooknum: nft.ChainHookPostrouting, Priority: nft.ChainPriorityNATSource},
		{Name: "forward", Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookForward, Priority: nft.ChainPriorityFilter},
		{Name: "input", Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookInput, Priority: nft.ChainPriorityFilter},
	} {
		c.Table, c.Policy = w.table, &policy
		w.conn.AddChain(c)
	}
	return nil
}

func (w *nftWriter) chain(name string) *nft.Chain { return &nft.Chain{Table: w.table, Name: name} }

// addBlock adds an owner's rules to a chain: the shared ones and those that go
// ahead before all others, because they may be missing when the others are not.
func (w *nftWriter) addBlock(b block, rules []rule) {
	add := func(to func(*nft.Rule) *nft.Rule, r rule) {
		to(&nft.Rule{Table: w.table, Chain: w.chain(b.chain), Exprs: exprs(w.family, r),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment)})
	}
	isAhead := func(r rule) bool { return r.ahead || b.comment == layout }
	for _, r := range slices.Backward(rules) {
		if isAhead(r) {
			add(w.conn.InsertRule, r)
		}
	}
	for _, r := range rules {
		if !isAhead(r) {
			add(w.conn.AddRule, r)
		}
	}
}

func (w *nftWriter) deleteBlock(b block, handles []uint64) error {
	for _, handle := range handles {
		if err := w.conn.DelRule(&nft.Rule{Table: w.table, Chain: w.chain(b.chain), Handle: handle}); err != nil {
			return err
		}
	}
	return nil
}

// chunk is the number of elements in one netlink message, whose list of
// elements has a length of 16 bits: 64 KiB, at 400 bytes for the longest.
const chunk = 100

func (w *nftWriter) addElements(all []element) error { return w.elements(all, w.conn.SetAddElements) }

func (w *nftWriter) deleteElements(all []element) error {
	return w.elements(all, w.conn.SetDeleteElements)
}

func (w *nftWriter) elements(all []element, send func(*nft.Set, []nft.SetElement) error) error {
	bySet := map[string][]nft.SetElement{}
	for _, e := range all {
		bySet[e.set] = append(bySet[e.set], e.nft())
	}
	for name, elements := range bySet {
		for part := range slices.Chunk(elements, chunk) {
			if err := send(w.sets[name], part); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	return nil
}

func (e element) nft() nft.SetElement {
	n := nft.SetElement{Key: e.key, KeyEnd: e.until, Val: e.value, Comment: e.comment}
	switch {
	case e.pass:
		n.VerdictData = &expr.Verdict{Kind: expr.VerdictAccept}
	case e.chain != "":
		n.VerdictData = &expr.Verdict{Kind: expr.VerdictJump, Chain: e.chain}
	}
	return n
}

// conflicts tells whether a transaction failed because what it built on was
// not there, or something else was.
func conflicts(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}
