package probe

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/netctl/netctl/netctl/doctor"
)

// nftObject is an element of the list of `nft -j` (libnftables-json(5)).
type nftObject struct {
	Chain *nftChain
	Rule  *nftRule
}

type nftChain struct {
	Family, Table, Name, Hook, Policy string
}

type nftRule struct {
	Family, Table, Chain string
	Handle               int
	Comment              string
	Expr                 []map[string]json.RawMessage
}

// ownTable is where netctl's own rules are: what they drop is a network's
// policy, which other checks know by name.
const ownTable = "netctl"

// nftPlaces reads the output of `nft -j -a list ruleset`. The tables that
// iptables-nft has are left to it.
func nftPlaces(text []byte, p doctor.Packet) map[string]counted {
	var list struct{ Nftables []nftObject }
	if json.Unmarshal(text, &list) != nil {
		return nil
	}
	places := map[string]counted{}
	open := map[string]bool{} // chains that let the packet pass by a rule
	bases := map[string]nftChain{}
	for _, o := range list.Nftables {
		if o.Chain != nil && o.Chain.Hook != "" && !foreignToNft(o.Chain.Table, o.Chain.Name) {
			bases[o.Chain.Family+o.Chain.Table+o.Chain.Name] = *o.Chain
		}
	}
	for _, o := range list.Nftables {
		if o.Rule == nil || foreignToNft(o.Rule.Table, o.Rule.Chain) {
			continue
		}
		r := *o.Rule
		key := r.Family + r.Table + r.Chain
		base, isBase := bases[key]
		j := judge(r, p)
		switch {
		case j.verdict == "accept" && j.fits:
			open[key] = true
		case j.verdict == "drop" || j.verdict == "reject":
			c := counted{drop: doctor.Drop{
				Tool: "nft", Chain: strings.Join([]string{r.Family, r.Table, r.Chain}, " "), Rule: j.text,
				Delete: deleteRule(r, p),
			}, packets: j.packets, blind: !j.counted, sure: j.fits && isBase && concerns(base.Hook, p) && !open[key]}
			places[fmt.Sprintf("%s %d", key, r.Handle)] = c
		}
	}
	for key, c := range bases {
		if c.Policy == "drop" && concerns(c.Hook, p) {
			chain := strings.Join([]string{c.Family, c.Table, c.Name}, " ")
			places[key] = counted{drop: doctor.Drop{
				Tool: "nft", Chain: chain, Delete: fmt.Sprintf("nft add chain %s '{ policy accept; }'", chain),
			}, blind: true, sure: !open[key]}
		}
	}
	return places
}

// deleteRule is the command that takes a rule away. What firewalld has made it makes again:
// there the bridge gets a zone that lets everything in.
func deleteRule(r nftRule, p doctor.Packet) string {
	if r.Table == "firewalld" && p.In != "" {
		return "firewall-cmd --zone=trusted --change-interface=" + p.In
	}
	return fmt.Sprintf("nft delete rule %s %s %s handle %d", r.Family, r.Table, r.Chain, r.Handle)
}

// foreignToNft: iptables-nft's chains, and ours.
func foreignToNft(table, chain string) bool {
	return table == ownTable || strings.ToUpper(chain) == chain && (table == "filter" || table == "nat" || table == "mangle" || table == "raw" || table == "security")
}

// concerns tells whether the packet passes the hook.
func concerns(hook string, p doctor.Packet) bool {
	switch hook {
	case "forward":
		return p.In != "" && p.Out != ""
	case "input":
		return p.In != "" && p.Out == ""
	case "output":
		return p.In == ""
	}
	return true
}

// judgement is what a rule does to a packet.
type judgement struct {
	verdict string
	fits    bool // every condition is understood and holds
	counted bool
	packets uint64
	text    string
}

func judge(r nftRule, p doctor.Packet) judgement {
	j := judgement{fits: true}
	var words []string
	for _, e := range r.Expr {
		for kind, value := range e {
			switch kind {
			case "accept", "drop", "reject":
				j.verdict = kind
				words = append(words, kind)
			case "counter":
				var c struct{ Packets uint64 }
				if json.Unmarshal(value, &c) == nil {
					j.counted, j.packets = true, c.Packets
				}
			case "match":
				text, holds := match(value, p)
				j.fits = j.fits && holds
				words = append(words, text)
			default:
				j.fits = false
				words = append(words, kind)
			}
		}
	}
	j.text = strings.Join(words, " ")
	return j
}

// match judges one condition. What it does not understand does not hold.
func match(raw json.RawMessage, p doctor.Packet) (text string, holds bool) {
	var m struct {
		Op   string
		Left struct {
			Meta    *struct{ Key string }
			Payload *struct{ Protocol, Field string }
		}
		Right json.RawMessage
	}
	if json.Unmarshal(raw, &m) != nil {
		return "...", false
	}
	right := strings.Trim(string(m.Right), `"`)
	name, value := "...", ""
	switch {
	case m.Left.Meta != nil:
		name = m.Left.Meta.Key
		value = map[string]string{"iifname": p.In, "oifname": p.Out, "iif": p.In, "oif": p.Out, "l4proto": p.Protocol}[name]
	case m.Left.Payload != nil:
		name = m.Left.Payload.Protocol + " " + m.Left.Payload.Field
		value = map[string]string{
			"ip daddr": p.To.Addr().String(), "ip6 daddr": p.To.Addr().String(), "ip protocol": p.Protocol, "ip6 nexthdr": p.Protocol,
			p.Protocol + " dport": fmt.Sprint(p.To.Port()), "th dport": fmt.Sprint(p.To.Port()),
		}[name]
	}
	text = fmt.Sprintf("%s %s %s", name, m.Op, right)
	if value == "" || m.Op != "==" && m.Op != "!=" {
		return text, false
	}
	same := value == right || inPrefix(m.Right, value)
	return text, same == (m.Op == "==")
}

// inPrefix: an address in {"prefix": {"addr": ..., "len": ...}}.
func inPrefix(raw json.RawMessage, value string) bool {
	var r struct {
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	if json.Unmarshal(raw, &r) != nil || r.Prefix == nil {
		return false
	}
	base, err := netip.ParseAddr(r.Prefix.Addr)
	a, err2 := netip.ParseAddr(value)
	return err == nil && err2 == nil && netip.PrefixFrom(base, r.Prefix.Len).Masked().Contains(a)
}
