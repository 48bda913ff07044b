package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// nftTable is our table, one per family, beside everybody else's.
const nftTable = "netctl"

// Sets and maps. What grows with attachments is looked up, never walked.
const (
	// Published ports: by address, protocol and port; by protocol and port
	// for all addresses; and ranges that keep their port numbers.
	nftPublish    = "publish"
	nftPublishAny = "publish-any"
	nftRanges     = "publish-ranges"
	// The chains of bridges, by the device a packet leaves or came by.
	nftGuardIngress = "guard-ingress"
	nftGuardEgress  = "guard-egress"
	nftIngress      = "ingress"
	nftEgress       = "egress"
	// A receipt for each attachment that publishes: see receipt.
	nftAttachments = "attachments"
)

// nftWant is what rules become in our table of one family: the chains of the
// rules are nft's own.
type nftWant struct {
	chains   []string
	rules    []placed
	elements []element
	// without are elements known to be there that must go.
	without []element
}

// element is a member of a set or map.
type element struct {
	set        string
	key, until []byte // until is the inclusive end of an interval
	value      []byte
	chain      string // the value, in a verdict map
	// pass accepts at once what would be accepted in the chain, which is there
	// to say whose rule it is: a chain that is entered costs as much as ten
	// comparisons.
	pass    bool
	comment string
}

// nftWanted translates r. It differs from iptables where nftables can look up:
// the dispatch by bridge, and the published ports.
func nftWanted(f family, r Rules) nftWant {
	network, published := networkRules(f, r.Network), f.publish(r.Publish)
	if len(network)+len(published) == 0 {
		return nftWant{}
	}
	w := nftBase(f)
	if len(network) > 0 {
		w.addNetwork(network, nftMarker(r.Network))
	}
	for _, rules := range publishedSubnets(f, r) {
		w.addNetwork(rules, subnetMarker(rules))
	}
	w.elements = append(w.elements, nftOwn(f, r)...)
	for _, p := range published {
		if !conditional(p) {
			continue
		}
		for _, rule := range conditionalRules(r.Attachment, p) {
			w.add(nftChain(chainPublish), rule)
		}
	}
	return w
}

// nftMarkers are the chains whose presence says that the rules are there which
// the attachment's network asks for, under this very policy. They are named
// without the rules being made, which takes longer than the usual ADD has
// use for.
func nftMarkers(f family, r Rules) []string {
	var markers []string
	if f.concerns(r.Network) {
		markers = append(markers, nftMarker(r.Network))
	}
	for _, rules := range publishedSubnets(f, r) {
		markers = append(markers, subnetMarker(rules))
	}
	return markers
}

// subnetMarker is the chain of the rules of a published subnet.
func subnetMarker(rules []placed) string { return nftChain(rules[len(rules)-1].chain) }

// nftOwn are the elements of the attachment itself, its receipt first.
func nftOwn(f family, r Rules) []element {
	published := f.publish(r.Publish)
	if len(published) == 0 {
		return nil
	}
	own := []element{nftReceipt(r.Attachment)}
	for _, p := range published {
		if !conditional(p) {
			own = append(own, mappingElements(f, r.Attachment, p)...)
		}
	}
	return own
}

// nftBase is what all networks of the host share.
func nftBase(f family) (w nftWant) {
	for _, p := range baseRules(f) {
		dispatched := dispatches(p.do.chain)
		if len(dispatched) == 0 {
			w.add(nftChain(p.chain), p.rule)
		}
		for _, p.do = range dispatched {
			w.add(nftChain(p.chain), p.rule)
		}
	}
	for _, name := range []string{nftPublish, nftPublishAny, nftRanges} {
		w.add(nftChain(chainPublish), rule{do: verdict{action: dnatMap, chain: set(name)}, comment: layout})
	}
	return w
}

// dispatches are the look-ups by device that stand for a jump to a chain in
// which networks have rules for their bridges.
func dispatches(c chain) []verdict {
	out, in := verdict{action: dispatchOut}, verdict{action: dispatchIn}
	switch c {
	case chainGuard:
		out.chain, in.chain = set(nftGuardIngress), set(nftGuardEgress)
		return []verdict{out, in}
	case chainIngress:
		out.chain = set(nftIngress)
		return []verdict{out}
	case chainEgress:
		in.chain = set(nftEgress)
		return []verdict{in}
	}
	return nil
}

// addNetwork places a network's rules. Those in chains that are dispatched to
// go to a chain of their bridge, which networks on the same bridge share, each
// rule with its owner's comment. The chain of the masquerade rules is the
// marker.
func (w *nftWant) addNetwork(all []placed, marker string) {
	masq := chain{}
	for _, p := range all {
		switch {
		case len(dispatches(p.chain)) > 0:
			w.addDispatched(p)
		case p.chain == chainMasquerade:
			masq = p.do.chain
			p.do.chain = chain{name: marker}
			w.add(nftChain(p.chain), p.rule)
		case p.chain == masq:
			w.add(marker, p.rule)
		default:
			w.add(nftChain(p.chain), p.rule)
		}
	}
	if !slices.Contains(w.chains, marker) { // a network without subnets
		w.add(marker, rule{do: verdict{action: leave}, comment: all[0].comment})
	}
}

// addDispatched places a rule into the chain of its bridge. Packets to the
// bridge and from it have chains of their own.
func (w *nftWant) addDispatched(p placed) {
	for _, d := range dispatches(p.chain) {
		name, device := "to-", p.out
		if d.action == dispatchIn {
			name, device = "from-", p.in
		}
		if device.name == "" || device.not {
			continue
		}
		if p.chain == chainGuard {
			name = "guard-" + name
		}
		to := name + device.name
		w.chains = append(w.chains, to)
		w.elements = append(w.elements, element{set: d.chain.name, key: deviceKey(device.name), chain: to, comment: p.comment,
			pass: p.rule == trunkRule(p.in, p.out, p.comment)})
		w.add(to, p.rule)
		return
	}
}

// add places a rule, in as many as nftables needs for it. A jump from a hook
// to the chain that is the hook itself falls away.
func (w *nftWant) add(in string, r rule) {
	if r.do.action == jump {
		r.do.chain = chain{name: nftChain(r.do.chain)}
		if r.do.chain.name == in {
			return
		}
		w.chains = append(w.chains, r.do.chain.name)
	}
	w.chains = append(w.chains, in)
	for _, one := range splitStates(r) {
		w.rules = append(w.rules, placed{chain{name: in}, one})
	}
}

// splitStates makes two rules of one that matches connections by state or by
// translation: these are different fields to nftables.
func splitStates(r rule) []rule {
	if r.state.not || r.state.connState&translated == 0 || r.state.connState == translated {
		return []rule{r}
	}
	byState, byStatus := r, r
	byState.state.connState &^= translated
	byStatus.state.connState = translated
	return []rule{byState, byStatus}
}

// nftChain is the chain's name in our table. What iptables jumps to from a
// hook, without a condition, is the hook's own chain here. Names that are
// nftables' already stay.
func nftChain(c chain) string {
	if c == chainMasquerade {
		c = hookPostrouting
	}
	if c.table == "" {
		return c.name
	}
	return strings.ToLower(c.name)
}

// nftMarker names the chain with the network's masquerade rules. The policy's
// hash is in it, so looking the name up tells whether the rules are current.
func nftMarker(p wire.NetworkPolicy) string {
	comment := policyComment(p)
	return nftMarkerPrefix(p.Network) + comment[strings.LastIndexByte(comment, '=')+1:]
}

func nftMarkerPrefix(network string) string { return "masq-" + networkKey(network) + "-" }

// set wraps the name of a map that a verdict looks up.
func set(name string) chain { return chain{name: name} }

func nftReceipt(a wire.Attachment) element {
	return element{set: nftAttachments, key: deviceKey(hash(15, a.NetworkLabel(), a.Container, a.IfName)), comment: attachmentLabel(a)}
}

// deviceKey is an interface name as a key: 16 bytes (IFNAMSIZ), filled with
// zeros.
func deviceKey(name string) []byte {
	key := make([]byte, 16)
	copy(key, name)
	return key
}

// mappingElements leads a published port or range to its container. A range
// whose ports keep their numbers is one element; one whose ports are shifted is
// an element per port.
//
// The kernel would accept NF_NAT_RANGE_PROTO_OFFSET from nf_tables, but
// nft_nat.c leaves base_proto at 0, so the n-th port of the target range is the
// port modulo the range's length. A range for which that is the right one is, in
// general, wider than what is published, and when the tuple it leads to is in
// use, nf_nat_l4proto_unique_tuple goes on to the range's next port: a client
// with two addresses of the host to connect to would reach ports that nobody
// published. nft cannot print the flag either.
func mappingElements(f family, a wire.Attachment, p wire.Publish) []element {
	comment := mappingComment(a, p)
	if p.Count > 1 && p.HostPort == p.ContainerPort {
		first, last := f.span(p.HostIP)
		return []element{{set: nftRanges, comment: comment, value: p.Container.AsSlice(),
			key: concat(first, p.Protocol, p.HostPort), until: concat(last, p.Protocol, p.Last())}}
	}
	name, host := nftPublishAny, []byte(nil)
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		name, host = nftPublish, p.HostIP.AsSlice()
	}
	var all []element
	for i := range max(p.Count, 1) {
		all = append(all, element{set: name, comment: comment, key: concat(host, p.Protocol, p.HostPort+i),
			value: slices.Concat(p.Container.AsSlice(), field(binary.BigEndian.AppendUint16(nil, p.ContainerPort+i)))})
	}
	return all
}

// concat is a key of address, protocol and port: fields are filled up to
// multiples of four bytes.
func concat(address []byte, p wire.Protocol, port uint16) []byte {
	return slices.Concat(address, field([]byte{protocolNumber(p)}), field(binary.BigEndian.AppendUint16(nil, port)))
}

func field(b []byte) []byte { return append(b, make([]byte, 4-len(b))...) }

// span gives the first and the last address that a mapping's host address
// stands for.
func (f family) span(host netip.Addr) (first, last []byte) {
	if host.IsValid() && !host.IsUnspecified() {
		return host.AsSlice(), host.AsSlice()
	}
	first = f.any().Addr().AsSlice()
	last = slices.Clone(first)
	for i := range last {
		last[i] = 0xff
	}
	return first, last
}
