package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

// chainPrefix marks our chains in iptables, where tables belong to everybody.
const chainPrefix = "NETCTL-"

// iptablesChain is the chain's name in iptables.
func iptablesChain(c chain) string {
	if c.hook {
		return c.name
	}
	return chainPrefix + c.name
}

// iptablesRule writes a rule as iptables reads it, without the command and the
// chain. The same rule gives the same text, so that what -A has made, -C and
// -D find again.
func iptablesRule(r rule) string {
	var b strings.Builder
	device := func(flag string, d device) {
		if d.name != "" {
			fmt.Fprintf(&b, "%s%s %s ", negation(d.not), flag, d.name)
		}
	}
	address := func(flag string, a address) {
		if a.IsValid() {
			fmt.Fprintf(&b, "%s%s %s ", negation(a.not), flag, a.Prefix)
		}
	}
	address("-s", r.src)
	address("-d", r.dst)
	device("-i", r.in)
	device("-o", r.out)
	if r.proto != "" {
		fmt.Fprintf(&b, "-p %s ", r.proto)
	}
	if r.ports != (portSpan{}) {
		fmt.Fprintf(&b, "-m %s --dport %s ", r.proto, r.ports.join(":"))
	}
	if r.dstLocal {
		b.WriteString("-m addrtype --dst-type LOCAL ")
	}
	if r.state.connState != 0 {
		fmt.Fprintf(&b, "-m conntrack %s--ctstate %s ", negation(r.state.not), strings.ToUpper(r.state.list(",")))
	}
	if r.words != "" {
		b.WriteString(r.words + " ")
	}
	fmt.Fprintf(&b, `-m comment --comment "%s" %s`, r.comment, iptablesTarget(r.do))
	return b.String()
}

func negation(not bool) string {
	if not {
		return "! "
	}
	return ""
}

// list gives the states' names in the words of both iptables and nft, but for
// the destination's translation, which is a state in iptables alone.
func (s connState) list(separator string) string {
	var names []string
	for _, state := range []struct {
		bit  connState
		name string
	}{{related, "related"}, {established, "established"}, {translated, "dnat"}} {
		if s&state.bit != 0 {
			names = append(names, state.name)
		}
	}
	return strings.Join(names, separator)
}

// join writes a span with the given separator, a single port as itself.
func (s portSpan) join(separator string) string {
	if s.first == s.last {
		return fmt.Sprint(s.first)
	}
	return fmt.Sprintf("%d%s%d", s.first, separator, s.last)
}

func iptablesTarget(v verdict) string {
	switch v.action {
	case accept:
		return "-j ACCEPT"
	case drop:
		return "-j DROP"
	case leave:
		return "-j RETURN"
	case jump:
		if v.final {
			return "-g " + iptablesChain(v.chain)
		}
		return "-j " + iptablesChain(v.chain)
	case mark:
		return "-j " + v.chain.name
	case masquerade:
		return "-j MASQUERADE"
	case snat:
		return "-j SNAT --to-source " + v.to.String()
	default:
		return "-j DNAT --to-destination " + dnatTarget(v)
	}
}

// dnatTarget writes where a connection is led. A range keeps its ports where
// they are the same on both sides; where they are shifted, the third number is
// the port that leads to the first of the range ("80-90/8080"; iptables 1.8.0,
// kernel 4.18). Without it the kernel would pick one at random.
func dnatTarget(v verdict) string {
	switch {
	case v.ports.first == v.ports.last:
		return netip.AddrPortFrom(v.to, v.ports.first).String()
	case v.ports.first == v.from:
		return v.to.String()
	default:
		host := strings.TrimSuffix(netip.AddrPortFrom(v.to, 0).String(), "0")
		return fmt.Sprintf("%s%s/%d", host, v.ports.join("-"), v.from)
	}
}
