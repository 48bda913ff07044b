package firewall

import (
	"bytes"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// Onlookers finds rules of others that would see packets between containers on
// different hosts if these took the usual way: the administrator's, in the chain
// that is there for them, and those of other programs. The fast path takes packets
// away from all of them.
//
// A rule counts unless it names a link or an address that no such packet has. The
// chains of FORWARD are read up to the rule by which we accept these packets: what
// comes then does not see them by any way. Chains that are only jumped to need not
// be read.
//
// What was found holds until the kernel says that its rules are others.
type Onlookers struct {
	mu   sync.Mutex
	of   string
	last string
}

// Passers are packets: by which links they come and go, and what addresses they
// have.
type Passers struct {
	Links  []string
	Ranges []netip.Prefix
}

// Find describes the first that it finds; "" is none.
func (o *Onlookers) Find(p Passers) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	of := ""
	if generation, err := generationNow(); err == nil {
		of = fmt.Sprint(generation, p, legacyTables())
	}
	if of == "" || of != o.of {
		o.of, o.last = of, p.onlooker()
	}
	if o.last == "" && !picksUp() { // has no generation
		return "net.netfilter.nf_conntrack_tcp_loose is 0: connections could not go back to the usual way"
	}
	return o.last
}

// generationNow is the number of the namespace's rules as they are.
func generationNow() (uint32, error) {
	s, err := dialNFT()
	if err != nil {
		return 0, err
	}
	defer unix.Close(s.fd)
	return s.generation()
}

// picksUp tells whether connection tracking takes a connection up of which it has
// not seen the beginning. Where nothing is tracked there is no such file.
func picksUp() bool {
	data, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_loose")
	return err != nil || string(bytes.TrimSpace(data)) != "0"
}

func (p Passers) onlooker() string {
	for _, table := range legacyTables() {
		// A table without rules has an entry for each of its chains, and the last one.
		if int(table.entries) > bits.OnesCount32(table.validHooks)+1 {
			name, _, _ := bytes.Cut(table.name[:], []byte{0})
			return fmt.Sprintf("table %s of iptables-legacy has rules, which are not read", name)
		}
	}
	conn, letGo, err := fenceConn()
	if err != nil {
		return cannotRead(err)
	}
	defer letGo()
	chains, err := conn.ListChains()
	if err != nil {
		return cannotRead(err)
	}
	for _, c := range chains {
		if found := p.in(conn, c); found != "" {
			return found
		}
	}
	return ""
}

func cannotRead(err error) string { return fmt.Sprintf("the packet filter can't be read: %v", err) }

// in looks into one chain, if it is one that such packets pass.
func (p Passers) in(conn *nft.Conn, c *nft.Chain) string {
	family, known := familyNames()[c.Table.Family]
	if !known || c.Table.Name == FenceTable {
		return ""
	}
	passed := c.Hooknum != nil && slices.Contains([]nft.ChainHook{*nft.ChainHookPrerouting, *nft.ChainHookForward, *nft.ChainHookPostrouting}, *c.Hooknum)
	if !isAdmin(c) && (!passed || c.Table.Name == nftTable) {
		return ""
	}
	where := fmt.Sprintf("chain %s of table %s %s", c.Name, family, c.Table.Name)
	rules, err := conn.GetRules(c.Table, c)
	switch {
	case err != nil:
		return cannotRead(fmt.Errorf("%s: %w", where, err))
	case isAdmin(c) && len(rules) > 0:
		return where + " has rules, which the administrator wrote"
	case isAdmin(c):
		return ""
	}
	for _, r := range rules {
		switch ours := isOurs(commentOfRule(r)); {
		case ours && *c.Hooknum == *nft.ChainHookForward:
			return "" // accepted here
		case !ours && p.meet(r):
			return where + " has a rule that may be about its packets"
		}
	}
	if c.Policy != nil && *c.Policy == nft.ChainPolicyDrop {
		return where + " drops what no rule accepts"
	}
	return ""
}

// isAdmin tells the chain that is there for the administrator's rules, by either
// mechanism.
func isAdmin(c *nft.Chain) bool {
	return c.Table.Name == nftTable && c.Name == nftChain(chainAdmin) || c.Table.Name == filter && c.Name == iptablesChain(chainAdmin)
}

// commentOfRule is nft's or iptables'.
func commentOfRule(r *nft.Rule) string {
	comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	for _, e := range r.Exprs {
		if m, ok := e.(*expr.Match); ok {
			if c, ok := m.Info.(*xt.Comment); ok {
				comment, _, _ = strings.Cut(string(*c), "\x00")
			}
		}
	}
	return comment
}
