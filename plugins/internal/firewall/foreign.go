package firewall

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// In nf_tables a packet must be accepted by every table: what one table
// accepts, a later one can still drop. So a host whose own table drops what it
// does not know (firewalld, a policy of drop in /etc/nftables.conf, Docker's
// policy for FORWARD when we use nftables) would cut containers off. As
// iptables programs have always done in FORWARD and INPUT, we put our accepting
// rules ahead in such chains, each marked with its network. They let pass what
// our own table has already decided about, nothing more.
//
// A table can be owned by a program (firewalld 2) and then be changed by nobody
// else; there we can only say what to do.

// foreignChain is another table's base chain for forwarded or incoming packets.
type foreignChain struct {
	table *nft.Table
	name  string
	hook  nft.ChainHook
	rules []foreignRule
	// closed: what no rule accepts is dropped.
	closed bool
}

type foreignRule struct {
	handle  uint64
	comment string
}

// xtables tells whether the chain belongs to iptables-nft, which understands
// only rules written in its own way.
func (c foreignChain) xtables() bool {
	return c.table.Name == filter && c.table.Family != nft.TableFamilyINet && (c.name == "FORWARD" || c.name == "INPUT")
}

func (c foreignChain) String() string {
	family := map[nft.TableFamily]string{nft.TableFamilyIPv4: "ip", nft.TableFamilyIPv6: "ip6", nft.TableFamilyINet: "inet"}
	return fmt.Sprintf("%s %s %s", family[c.table.Family], c.table.Name, c.name)
}

// foreigners reads and changes foreign chains.
type foreigners struct {
	reader *netlink.Conn
	writer *nft.Conn
	log    *slog.Logger
	// skipXtables leaves the chains of iptables out, where the iptables
	// backend has its own rules.
	skipXtables bool
}

// open puts the network's accepting rules into every closed chain that does
// not have them.
func (o foreigners) open(p wire.NetworkPolicy) error {
	if p.IsZero() || p.Bridge == "" {
		return nil
	}
	return o.each(func(c foreignChain) {
		want := c.openings(p)
		comment := policyComment(p)
		current := c.owned(func(owner string) bool { return owner == comment })
		if !c.closed || len(want) == len(current) {
			return
		}
		o.delete(c, c.owned(func(owner string) bool { return isPolicyOf(owner, p.Network) }))
		for _, r := range slices.Backward(want) {
			r.comment = comment
			o.insert(c, r)
		}
	})
}

// close takes rules of ours away.
func (o foreigners) close(gone func(comment string) bool) error {
	return o.each(func(c foreignChain) {
		o.delete(c, c.owned(func(owner string) bool { return isOurs(owner) && gone(owner) }))
	})
}

// each collects changes for one chain after the other, and commits them chain
// by chain, so that one that may not be changed does not keep the others shut.
func (o foreigners) each(collect func(foreignChain)) error {
	chains, err := o.chains()
	if err != nil {
		return fmt.Errorf("read other programs' nftables chains: %w", err)
	}
	for _, c := range chains {
		if o.skipXtables && c.xtables() {
			continue
		}
		collect(c)
		if err := o.writer.Flush(); err != nil {
			o.log.Warn("a firewall of this host may drop containers' packets and lets nobody change it; allow the bridge there",
				"chain", c.String(), "error", err)
		}
	}
	return nil
}

func (c foreignChain) owned(by func(comment string) bool) []foreignRule {
	return slices.DeleteFunc(slices.Clone(c.rules), func(r foreignRule) bool { return !by(r.comment) })
}

// openings are the rules that a closed chain needs for a network.
func (c foreignChain) openings(p wire.NetworkPolicy) []rule {
	pass := verdict{action: accept}
	from, into := device{name: p.Bridge}, device{name: p.Bridge}
	switch {
	case c.hook == *nft.ChainHookForward && !p.Forward:
		return nil
	case c.hook == *nft.ChainHookForward && p.Internal:
		return []rule{{in: from, out: into, do: pass}}
	case c.hook == *nft.ChainHookForward:
		return append([]rule{{in: from, do: pass}},
			c.split(rule{out: into, state: stateMatch{connState: established | related | translated}, do: pass})...)
	}
	var all []rule
	for _, f := range c.families() {
		for _, placed := range resolverRules(f, p) {
			if placed.chain != chainDNS {
				continue
			}
			for _, r := range port53(pass) {
				r.in, r.dst = placed.rule.in, placed.dst
				all = append(all, r)
			}
		}
	}
	return all
}

func (c foreignChain) split(r rule) []rule {
	if c.xtables() {
		return []rule{r}
	}
	return splitStates(r)
}

func (c foreignChain) families() []family {
	switch c.table.Family {
	case nft.TableFamilyIPv4:
		return []family{ipv4}
	case nft.TableFamilyIPv6:
		return []family{ipv6}
	default:
		both := families()
		return both[:]
	}
}

func (o foreigners) insert(c foreignChain, r rule) {
	added := &nft.Rule{Table: c.table, Chain: &nft.Chain{Name: c.name, Table: c.table}}
	f := c.families()[0]
	if r.dst.IsValid() && r.dst.Addr().Is6() {
		f = ipv6
	}
	if c.xtables() {
		added.Exprs = xtablesExprs(f, r)
	} else {
		added.Exprs = append(familyExprs(c.table.Family, f, r), exprs(f, r)...)
		added.UserData = userdata.AppendString(nil, userdata.TypeComment, r.comment)
	}
	o.writer.InsertRule(added)
}

func (o foreigners) delete(c foreignChain, rules []foreignRule) {
	for _, r := range rules {
		// DelRule fails only for a handle of 0, which no rule has.
		_ = o.writer.DelRule(&nft.Rule{Table: c.table, Chain: &nft.Chain{Name: c.name, Table: c.table}, Handle: r.handle})
	}
}

// chains reads the base chains of other tables, with their rules.
func (o foreigners) chains() ([]foreignChain, error) {
	r := nftReader{conn: o.reader}
	answers, err := r.get(unix.NFT_MSG_GETCHAIN, netlink.Dump)
	if err != nil {
		return nil, err
	}
	var all []foreignChain
	for _, m := range answers {
		c, ok := parseForeign(m)
		if !ok {
			continue
		}
		if err := o.readRules(&c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// parseForeign tells what a chain is, if it is one that could drop our packets.
func parseForeign(m netlink.Message) (foreignChain, bool) {
	c := foreignChain{name: attributeText(m, unix.NFTA_CHAIN_NAME)}
	c.table = &nft.Table{Name: attributeText(m, unix.NFTA_CHAIN_TABLE), Family: nft.TableFamily(m.Data[0])}
	hook := attribute(m, unix.NFTA_CHAIN_HOOK, unix.NFTA_HOOK_HOOKNUM)
	policy := attribute(m, unix.NFTA_CHAIN_POLICY)
	if c.table.Name == nftTable || len(hook) != 4 || attributeText(m, unix.NFTA_CHAIN_TYPE) != string(nft.ChainTypeFilter) {
		return c, false
	}
	c.hook = nft.ChainHook(binary.BigEndian.Uint32(hook))
	c.closed = len(policy) == 4 && nft.ChainPolicy(binary.BigEndian.Uint32(policy)) == nft.ChainPolicyDrop
	family := c.table.Family
	return c, (c.hook == *nft.ChainHookForward || c.hook == *nft.ChainHookInput) &&
		(family == nft.TableFamilyIPv4 || family == nft.TableFamilyIPv6 || family == nft.TableFamilyINet)
}

// readRules adds the chain's rules, and whether the last one drops all that
// has come that far.
func (o foreigners) readRules(c *foreignChain) error {
	r := nftReader{conn: o.reader}
	r.table = c.table.Family
	answers, err := r.get(unix.NFT_MSG_GETRULE, netlink.Dump, text(unix.NFTA_RULE_TABLE, c.table.Name), text(unix.NFTA_RULE_CHAIN, c.name))
	if err != nil {
		return err
	}
	for i, m := range answers {
		expressions := expressionsOf(m)
		comment, _ := userdata.GetString(attribute(m, unix.NFTA_RULE_USERDATA), userdata.TypeComment)
		for _, e := range expressions {
			if e.isMatch("comment") {
				comment = e.info()
			}
		}
		c.rules = append(c.rules, foreignRule{handle: binary.BigEndian.Uint64(attribute(m, unix.NFTA_RULE_HANDLE)), comment: comment})
		if i == len(answers)-1 && dropsAll(expressions) {
			c.closed = true
		}
	}
	return nil
}
