package firewall

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"

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
	kind  string // "" for chains that are not base chains
	hook  nft.ChainHook
	rules []foreignRule
	// closed: what no rule accepts is dropped.
	closed bool
}

type foreignRule struct {
	handle      uint64
	comment     string
	expressions []byte // as the kernel gives them
}

// xtables tells whether the chain belongs to iptables-nft, which understands
// only rules written in its own way.
func (c foreignChain) xtables() bool {
	return c.table.Name == filter && c.table.Family != nft.TableFamilyINet && (c.name == "FORWARD" || c.name == "INPUT")
}

func (c foreignChain) String() string {
	return fmt.Sprintf("%s %s %s", familyNames()[c.table.Family], c.table.Name, c.name)
}

// foreigners reads and changes foreign chains. What it cannot do it logs: the
// network's own rules are in place, and most hosts need no more.
type foreigners struct {
	reader *netlink.Conn
	writer *nft.Conn
	log    *slog.Logger
	// by is the mechanism whose openings these are; each keeps its own. With
	// iptables, the iptables tables with our own chains in them are left out.
	by BackendName
}

// comment marks the openings of a network.
func (o foreigners) comment(p wire.NetworkPolicy) string { return policyComment(p) + o.suffix() }

func (o foreigners) suffix() string { return " by=" + string(o.by) }

// open puts the networks' accepting rules into every closed chain that does
// not have them, and into those of iptables, whose policy changes when somebody
// starts Docker.
func (o foreigners) open(policies ...wire.NetworkPolicy) {
	o.each(func(c foreignChain) {
		for _, p := range policies {
			want, comment := c.openings(p), o.comment(p)
			current := c.owned(func(owner string) bool { return owner == comment })
			if !c.closed && !c.xtables() || len(want) == len(current) {
				continue
			}
			o.delete(c, c.owned(func(owner string) bool {
				return isPolicyOf(owner, p.Network) && strings.HasSuffix(owner, o.suffix())
			}))
			for _, r := range slices.Backward(want) {
				r.comment = comment
				o.insert(c, r)
			}
		}
	})
}

// close takes openings away.
func (o foreigners) close(gone func(comment string) bool) {
	o.each(func(c foreignChain) {
		o.delete(c, c.owned(func(owner string) bool {
			return isPolicy(owner) && strings.HasSuffix(owner, o.suffix()) && gone(owner)
		}))
	})
}

// restore leaves the openings of these networks, and no others.
func (o foreigners) restore(all []Rules) {
	var policies []wire.NetworkPolicy
	known := map[string]bool{}
	for _, r := range all {
		if comment := o.comment(r.Network); !known[comment] {
			known[comment] = true
			policies = append(policies, r.Network)
		}
	}
	o.close(func(comment string) bool { return !known[comment] })
	o.open(policies...)
}

// each collects changes for one chain after the other, and commits them chain
// by chain, so that one that may not be changed does not keep the others shut.
func (o foreigners) each(collect func(foreignChain)) {
	chains, err := o.chains()
	if err != nil {
		o.log.Debug("cannot read other programs' nftables chains", "error", err)
		return
	}
	for _, c := range chains {
		collect(c)
		if err := o.writer.Flush(); err != nil {
			o.log.Warn("a firewall of this host may drop containers' packets and lets nobody change it; allow the bridge there",
				"chain", c.String(), "error", err)
		}
	}
}

func (c foreignChain) owned(by func(comment string) bool) []foreignRule {
	return slices.DeleteFunc(slices.Clone(c.rules), func(r foreignRule) bool { return !by(r.comment) })
}

// openings are the rules that a closed chain needs for a network.
func (c foreignChain) openings(p wire.NetworkPolicy) []rule {
	pass := verdict{action: accept}
	from, into := device{name: p.Bridge}, device{name: p.Bridge}
	switch {
	case p.Bridge == "" || c.hook == *nft.ChainHookForward && !p.Forward && p.Trunk == "":
		return nil
	case c.hook == *nft.ChainHookForward && p.Internal:
		return append(trunkOpenings(p), rule{in: from, out: into, do: pass})
	case c.hook == *nft.ChainHookForward:
		return append(append(trunkOpenings(p), rule{in: from, do: pass}),
			c.split(rule{out: into, state: stateMatch{connState: established | related | translated}, do: pass})...)
	}
	var all []rule
	for _, f := range c.families() {
		for _, placed := range resolverRules(f, p) {
			switch placed.chain {
			case chainDNS: // which is for port 53 alone
				all = append(all, ofResolver(placed.rule, wire.DNSPort)...)
			case chainInput:
				all = append(all, placed.rule)
			}
		}
	}
	return all
}

// trunkOpenings let what stays inside a network pass between its bridge and the
// device that leads to its other hosts.
func trunkOpenings(p wire.NetworkPolicy) []rule {
	if p.Trunk == "" {
		return nil
	}
	bridge, trunk, pass := device{name: p.Bridge}, device{name: p.Trunk}, verdict{action: accept}
	return []rule{{in: trunk, out: bridge, do: pass}, {in: bridge, out: trunk, do: pass}}
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
	own := map[nft.Table]bool{}
	for _, m := range answers {
		if c := parseForeign(m); c.name == iptablesChain(chainForward) {
			own[*c.table] = o.by == IPTables
		}
	}
	var all []foreignChain
	for _, m := range answers {
		c := parseForeign(m)
		if !c.matters() || own[*c.table] {
			continue
		}
		if err := o.readRules(&c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func parseForeign(m netlink.Message) foreignChain {
	c := foreignChain{name: attributeText(m, unix.NFTA_CHAIN_NAME), kind: attributeText(m, unix.NFTA_CHAIN_TYPE)}
	c.table = &nft.Table{Name: attributeText(m, unix.NFTA_CHAIN_TABLE), Family: nft.TableFamily(m.Data[0])}
	if hook := attribute(m, unix.NFTA_CHAIN_HOOK, unix.NFTA_HOOK_HOOKNUM); len(hook) == 4 {
		c.hook = nft.ChainHook(binary.BigEndian.Uint32(hook))
	}
	policy := attribute(m, unix.NFTA_CHAIN_POLICY)
	c.closed = len(policy) == 4 && nft.ChainPolicy(binary.BigEndian.Uint32(policy)) == nft.ChainPolicyDrop
	return c
}

// matters tells whether the chain could drop our packets.
func (c foreignChain) matters() bool {
	if c.table.Name == nftTable || c.kind != string(nft.ChainTypeFilter) {
		return false
	}
	_, known := familyNames()[c.table.Family]
	return known && (c.hook == *nft.ChainHookForward || c.hook == *nft.ChainHookInput)
}

func familyNames() map[nft.TableFamily]string {
	return map[nft.TableFamily]string{nft.TableFamilyIPv4: "ip", nft.TableFamilyIPv6: "ip6", nft.TableFamilyINet: "inet"}
}

// readRules adds the chain's rules, and whether the last one drops all that
// has come that far.
func (o foreigners) readRules(c *foreignChain) error {
	r := nftReader{conn: o.reader, table: c.table.Family}
	answers, err := r.get(unix.NFT_MSG_GETRULE, netlink.Dump, text(unix.NFTA_RULE_TABLE, c.table.Name), text(unix.NFTA_RULE_CHAIN, c.name))
	if err != nil {
		return err
	}
	for i, m := range answers {
		expressions := expressionsOf(m)
		if handle := attribute(m, unix.NFTA_RULE_HANDLE); len(handle) == 8 {
			c.rules = append(c.rules, foreignRule{binary.BigEndian.Uint64(handle), commentOf(m, expressions), attribute(m, unix.NFTA_RULE_EXPRESSIONS)})
		}
		if i == len(answers)-1 && dropsAll(expressions) {
			c.closed = true
		}
	}
	return nil
}

// foreigners lends the iptables backend a pair of sockets. On a kernel without
// nf_tables there is nobody to talk to, and nothing to do.
func (t *iptables) foreigners(use func(foreigners)) {
	reader, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.log.Debug("cannot open nftables", "error", err)
		return
	}
	defer reader.Close()
	writer, err := nft.New()
	if err != nil {
		t.log.Debug("cannot open nftables", "error", err)
		return
	}
	use(foreigners{reader: reader, writer: writer, log: t.log, by: IPTables})
}
