package firewall

import (
	"encoding/binary"
	"net"
	"strings"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// familyExprs confines a rule with addresses to its family, in a table of
// both.
func familyExprs(table nft.TableFamily, f family, r rule) []expr.Any {
	if table != nft.TableFamilyINet || !r.src.IsValid() && !r.dst.IsValid() {
		return nil
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register(0)}, equal(false, []byte{f.netlink()})}
}

// xtablesExprs writes an accepting rule as iptables-nft does. It would refuse to show a
// table with anything else in it.
func xtablesExprs(f family, r rule) []expr.Any {
	stateless := r
	stateless.state = stateMatch{}
	all := matchExprs(f, stateless)
	if r.state.connState != 0 {
		all = append(all, &expr.Match{Name: "conntrack", Rev: 3, Info: xtablesState(f, r.state.connState)})
	}
	comment := xt.Comment(r.comment)
	return append(all, &expr.Match{Name: "comment", Info: &comment}, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
}

// xtablesState is xt_conntrack's "any of these states". In its masks a state
// is the bit above its number, and translation of the destination bit 7
// (linux/netfilter/xt_conntrack.h).
func xtablesState(f family, s connState) *xt.ConntrackMtinfo3 {
	info := &xt.ConntrackMtinfo3{}
	none, mask := net.IP(f.any().Addr().AsSlice()), net.IPMask(f.any().Addr().AsSlice())
	info.OrigSrcAddr, info.OrigDstAddr, info.ReplSrcAddr, info.ReplDstAddr = none, none, none, none
	info.OrigSrcMask, info.OrigDstMask, info.ReplSrcMask, info.ReplDstMask = mask, mask, mask, mask
	info.MatchFlags = uint16(xt.ConntrackState)
	for state, bit := range map[connState]uint16{established: 1 << 1, related: 1 << 2, translated: 1 << 7} {
		if s&state != 0 {
			info.StateMask |= bit
		}
	}
	return info
}

// expression is one of a rule's, as the kernel gives it.
type expression struct {
	name string
	data netlink.Message
}

// expressionsOf reads a rule's expressions.
func expressionsOf(m netlink.Message) []expression {
	d, err := netlink.NewAttributeDecoder(attribute(m, unix.NFTA_RULE_EXPRESSIONS))
	if err != nil {
		return nil
	}
	var all []expression
	for d.Next() {
		inner := netlink.Message{Data: append(make([]byte, 4), d.Bytes()...)}
		all = append(all, expression{name: attributeText(inner, unix.NFTA_EXPR_NAME), data: inner})
	}
	return all
}

// commentOf reads a rule's comment, nft's or iptables'.
func commentOf(m netlink.Message, expressions []expression) string {
	comment, _ := userdata.GetString(attribute(m, unix.NFTA_RULE_USERDATA), userdata.TypeComment)
	for _, e := range expressions {
		if e.isMatch("comment") {
			comment = e.info()
		}
	}
	return comment
}

func (e expression) isMatch(name string) bool {
	return e.name == "match" && e.text(unix.NFTA_MATCH_NAME) == name
}

// info is what a match of text (comment) holds.
func (e expression) info() string {
	text, _, _ := strings.Cut(e.text(unix.NFTA_MATCH_INFO), "\x00")
	return text
}

func (e expression) text(kind uint16) string {
	return strings.TrimRight(string(attribute(e.data, unix.NFTA_EXPR_DATA, kind)), "\x00")
}

// dropsAll tells whether a rule without conditions drops or rejects.
func dropsAll(rule []expression) bool {
	for _, e := range rule {
		switch {
		case e.name == "counter" || e.name == "log" || e.isMatch("comment"):
			continue
		case e.name == "reject":
			return true
		case e.name == "target":
			return e.text(unix.NFTA_TARGET_NAME) == "REJECT"
		case e.name == "immediate":
			code := attribute(e.data, unix.NFTA_EXPR_DATA, unix.NFTA_IMMEDIATE_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CODE)
			return len(code) == 4 && int32(binary.BigEndian.Uint32(code)) == int32(expr.VerdictDrop)
		default:
			return false
		}
	}
	return false
}
