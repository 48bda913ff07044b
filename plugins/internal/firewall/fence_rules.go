package firewall

import (
	"encoding/binary"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// few is up to how many networks or pools are compared one by one; more are
// looked up. A comparison takes a third of a look-up's time.
const few = 4

// The rules of a fence, with the text of nft(8) beside some. Every packet of the
// overlay passes them seven times on its way, and each expression and each chain
// that is entered counts (docs/overlay.md, "What it costs"). So usual packets
// meet no chain but the hook's, leave it early, and the tunnel is known by its
// number, which is compared in half a name's time. The rules that drop know it
// by its name: when the device is made anew and has another number, nothing
// passes until the rules are, too.
func (w *fenceWriter) rules() {
	w.arriving()
	w.forwarded()
	w.incoming()
	w.outgoing()
}

// arriving looks at the source of every packet, before anything else is done
// with it: it must be one that can come this way. Not later, although the hooks
// for forwarded and incoming packets would see the same source: the kernel
// answers some packets (ICMP) before.
func (w *fenceWriter) arriving() {
	raw := w.hook("prerouting", nft.ChainHookPrerouting, *nft.ChainPriorityRaw)
	if match := w.outer(w.destination()); match != nil {
		// udp dport PORT ip daddr LOCAL iif UNDERLAY notrack accept
		w.add(raw, match, number(expr.MetaKeyIIF, w.fence.Underlay), untracked(), accepts()) // on to incoming
	}
	// A container is not to speak for a member: members are heard by links
	// that lead to them (RFC 3704, strict).
	// meta l4proto udp ip saddr @members fib saddr . iif oif missing drop
	w.add(raw, protocol(unix.IPPROTO_UDP), w.source(), w.in(fenceMembers), leadsNowhere(), drops())
	w.fast(raw)
	w.add(raw, number(expr.MetaKeyIIF, w.fence.Tunnel), w.source(), w.in(fencePeers), accepts())
	w.fromBridges(raw)
	w.add(raw, iif(w.fence.Device), drops())
	w.add(raw, iif("lo"), accepts())
	if w.fence.Direct != "" {
		// iifname UNDERLAY meta mark set ip saddr map @groups: breaks off where
		// there is no such pool.
		w.add(raw, iif(w.fence.Direct), w.source(), w.toMark(fenceGroups), accepts())
	}
	w.add(raw, w.source(), w.in(fenceRanges), drops())
}

// fast leaves packets of the fast path untracked. They have not taken it where
// bridged packets pass the hooks of routed ones before (br_netfilter), and where
// the kernel has to answer them: that it tracks some packets of a connection
// and not the others would make them invalid to somebody's rules.
func (w *fenceWriter) fast(raw *nft.Chain) {
	networks := w.fence.Fast.Networks
	if len(networks) == 0 {
		return
	}
	w.add(raw, number(expr.MetaKeyIIF, w.fence.Tunnel), w.source(), w.in(fenceFastTo), w.destination(), w.in(fenceFast), untracked(), accepts())
	outward := slices.Concat(w.source(), w.in(fenceFast), w.destination(), w.in(fenceFastTo), untracked(), accepts())
	if len(networks) > few {
		w.add(raw, w.iifIn(fenceBridges), outward)
		return
	}
	for _, n := range networks {
		w.add(raw, iif(n.Bridge), outward)
	}
}

// fromBridges accepts what comes by a network's bridge: its source matters when
// it leaves the host.
func (w *fenceWriter) fromBridges(raw *nft.Chain) {
	if len(w.fence.Networks) > few {
		w.add(raw, w.iifIn(fenceBridges), accepts())
		return
	}
	for _, n := range w.fence.Networks {
		w.add(raw, iif(n.Bridge), accepts())
	}
}

// outer matches the tunnel's own packets by this host's end; nil where they are
// of the other family. Nobody translates them, so connection tracking would
// only cost.
func (w *fenceWriter) outer(end []expr.Any) []expr.Any {
	match := portOf(unix.IPPROTO_UDP, w.fence.Port)
	switch local := w.fence.Local; {
	case !local.IsValid():
		return match
	case !w.family.has(local):
		return nil
	default:
		return slices.Concat(match, end, []expr.Any{equal(false, local.AsSlice())})
	}
}

// forwarded guards the source of what leaves, marks it with its network's
// group, and lets in what the network admits. The mark is the group in the
// tunnel's header: the kernel copies it on both ends.
func (w *fenceWriter) forwarded() {
	forward := w.hook("forward", nft.ChainHookForward, *nft.ChainPriorityFilter-1)
	w.leaving(forward)
	w.entering(forward, number(expr.MetaKeyIIF, w.fence.Tunnel))
	if w.fence.Direct != "" {
		w.withoutTunnel(forward)
	}
	w.add(forward, oif(w.fence.Device), drops()) // neither a pool of ours, nor its network's bridge
	w.add(forward, iif(w.fence.Device), drops()) // not admitted
}

// withoutTunnel is leaving and entering for what takes direct routes. No group
// travels with these packets: the other side takes it from the source, which has
// to be of a network that the bridge may speak to, or a container that forges
// another network's source would be heard in there.
func (w *fenceWriter) withoutTunnel(forward *nft.Chain) {
	to, from := w.chain("to-direct"), w.chain("direct")
	w.add(forward, w.destination(), w.in(fencePeers), w.iifIn(fenceBridges), goesTo(to))
	// meta mark set ip saddr map @senders meta mark . iifname @admit meta mark set 0 accept
	w.add(to, w.source(), w.toMark(fenceSenders), meta(expr.MetaKeyMARK, 0), meta(expr.MetaKeyIIFNAME, 1), w.in(fenceAdmit), noMark(), accepts())
	w.add(to, drops())
	w.add(forward, iif(w.fence.Direct), w.source(), w.in(fencePeers), goesTo(from))
	w.entering(from, nil)
	w.add(from, drops())
}

// leaving marks packets to the tunnel that have a source of ours and come by its
// network's bridge.
func (w *fenceWriter) leaving(forward *nft.Chain) {
	tunnel := number(expr.MetaKeyOIF, w.fence.Tunnel)
	var own []wire.Grouped
	for _, g := range w.fence.Own {
		if w.family.has(g.Pool.Addr()) {
			own = append(own, g)
		}
	}
	if len(own) > few {
		// oif TUNNEL ip saddr @own meta mark set iifname map @leaving accept
		w.add(forward, tunnel, w.source(), w.in(fenceOwn), meta(expr.MetaKeyIIFNAME, 0), w.toMark(fenceLeaving), accepts())
		return
	}
	for _, g := range own {
		for _, n := range w.fence.Networks {
			if n.Group == g.Group {
				// oif TUNNEL ip saddr POOL iifname BRIDGE meta mark set GROUP accept
				w.add(forward, tunnel, addressExprs(w.family, within(g.Pool), w.family.sourceOffset()), iif(n.Bridge), marks(uint32(n.Group)), accepts())
			}
		}
	}
}

// entering accepts what has matched, and goes to a bridge that admits its group.
func (w *fenceWriter) entering(c *nft.Chain, match []expr.Any) {
	admitted := 0
	for _, n := range w.fence.Networks {
		admitted += len(n.Admits)
	}
	if admitted > few {
		// meta mark . oifname @admit meta mark set 0 accept
		w.add(c, match, meta(expr.MetaKeyMARK, 0), meta(expr.MetaKeyOIFNAME, 1), w.in(fenceAdmit), noMark(), accepts())
		return
	}
	for _, n := range w.fence.Networks {
		for _, group := range n.Admits {
			// meta mark GROUP oifname BRIDGE meta mark set 0 accept
			w.add(c, match, number(expr.MetaKeyMARK, uint32(group)), oif(n.Bridge), noMark(), accepts())
		}
	}
}

// incoming hears tunnel packets, probes and names only from members.
func (w *fenceWriter) incoming() {
	input := w.hook("input", nft.ChainHookInput, *nft.ChainPriorityFilter-1)
	port := w.fence.Port
	for _, port := range []uint16{port, port + 1} {
		// udp dport PORT ip saddr @members accept
		w.add(input, portOf(unix.IPPROTO_UDP, port), w.source(), w.in(fenceMembers), accepts())
		w.add(input, portOf(unix.IPPROTO_UDP, port), drops())
	}
	// where hosts exchange names (tcp)
	w.add(input, portOf(unix.IPPROTO_TCP, port+1), w.destination(), w.in(fenceMembers), w.source(), w.notIn(fenceMembers), drops())
	w.add(input, iif(w.fence.Device), noMark())
}

// outgoing keeps the mark of the inner packet from having a meaning for the
// outer one (kubernetes#92035: a second masquerade), and guards what the host
// itself sends into the overlay.
func (w *fenceWriter) outgoing() {
	output := w.hook("output", nft.ChainHookOutput, *nft.ChainPriorityRaw)
	host := w.chain("from-host")
	if match := w.outer(w.source()); match != nil {
		w.add(output, match, untracked(), noMark(), accepts())
	}
	w.add(output, oif(w.fence.Device), goesTo(host))
	w.add(host, w.source(), w.notIn(fenceOwn), drops())
	w.add(host, w.source(), w.toMark(fenceHosts), accepts())
}

// chains are the names of all that have rules.
func (w *fenceWriter) chains() []string {
	names := []string{"prerouting", "forward", "input", "output", "from-host"}
	if w.fence.Direct != "" {
		names = append(names, "to-direct", "direct")
	}
	return names
}

func (w *fenceWriter) hook(name string, at *nft.ChainHook, priority nft.ChainPriority) *nft.Chain {
	policy := nft.ChainPolicyAccept
	return w.conn.AddChain(&nft.Chain{Table: w.table, Name: name, Type: nft.ChainTypeFilter, Hooknum: at, Priority: &priority, Policy: &policy})
}

func (w *fenceWriter) chain(name string) *nft.Chain {
	return w.conn.AddChain(&nft.Chain{Table: w.table, Name: name})
}

func (w *fenceWriter) add(to *nft.Chain, parts ...[]expr.Any) {
	var all []expr.Any
	for _, part := range parts {
		all = append(all, part...)
	}
	w.conn.AddRule(&nft.Rule{Table: w.table, Chain: to, Exprs: all})
}

func meta(key expr.MetaKey, into int) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: register(into)}}
}

func iif(name string) []expr.Any { return deviceExprs(expr.MetaKeyIIFNAME, device{name: name}) }
func oif(name string) []expr.Any { return deviceExprs(expr.MetaKeyOIFNAME, device{name: name}) }

func (w *fenceWriter) iifIn(set string) []expr.Any {
	return append(meta(expr.MetaKeyIIFNAME, 0), w.in(set)...)
}

func (w *fenceWriter) source() []expr.Any { return w.address(w.family.sourceOffset()) }

func (w *fenceWriter) destination() []expr.Any {
	return w.address(w.family.sourceOffset() + w.family.size())
}

func (w *fenceWriter) address(offset uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: w.family.size()}}
}

// number matches a key that the kernel compares as a number.
func number(key expr.MetaKey, value uint32) []expr.Any {
	return append(meta(key, 0), equal(false, binary.NativeEndian.AppendUint32(nil, value)))
}

// setID is the number of a set that is made in the same transaction, else 0: it is
// there by its name.
func (w *fenceWriter) setID(name string) uint32 {
	if s := w.sets[name]; s != nil {
		return s.ID
	}
	return 0
}

func (w *fenceWriter) in(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), SetName: set, SetID: w.setID(set)}}
}

func (w *fenceWriter) notIn(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), SetName: set, SetID: w.setID(set), Invert: true}}
}

// toMark makes the packet's mark what a map says.
func (w *fenceWriter) toMark(set string) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: register(0), DestRegister: register(0), IsDestRegSet: true, SetName: set, SetID: w.setID(set)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register(0)},
	}
}

// noMark: other programs have marks of their own.
func noMark() []expr.Any { return marks(0) }

func marks(value uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register(0), Data: binary.NativeEndian.AppendUint32(nil, value)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register(0)},
	}
}

// portOf matches the destination port of a transport protocol.
func portOf(number byte, port uint16) []expr.Any {
	return append(protocol(number), portToRegister(0), equal(false, binary.BigEndian.AppendUint16(nil, port)))
}

func protocol(number byte) []expr.Any {
	return append(meta(expr.MetaKeyL4PROTO, 0), equal(false, []byte{number}))
}

// leadsNowhere matches a source that no route leads to by the link that the
// packet came by.
func leadsNowhere() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: register(0), FlagSADDR: true, FlagIIF: true, FlagPRESENT: true, ResultOIF: true},
		equal(false, make([]byte, 4)),
	}
}

// accepts ends this table's say in this hook, no more.
func accepts() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func drops() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

// goesTo leads to a chain whose end is the end of this one, too.
func goesTo(chain *nft.Chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}}
}

func untracked() []expr.Any { return []expr.Any{&expr.Notrack{}} }
