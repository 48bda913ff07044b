package firewall

import (
	"encoding/binary"
	"net/netip"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// The rules of a fence, with the text of nft(8) beside each. Every packet of the
// overlay passes them six times on its way, so they are in the order in which a
// usual packet leaves earliest.
func (w *fenceWriter) rules(f wire.Fence) {
	w.arriving(f)
	w.forwarded(f)
	w.incoming(f)
	w.outgoing(f)
}

// arriving looks at the source of every packet, before anything else is done
// with it: it must be one that can come this way.
func (w *fenceWriter) arriving(f wire.Fence) {
	raw := w.hook("prerouting", nft.ChainHookPrerouting, *nft.ChainPriorityRaw)
	tunnel := w.chain("from-tunnel")
	w.add(raw, iif(f.Device), goesTo(tunnel))
	w.add(raw, w.outer(f, destination), untracked(), accepts())
	w.add(raw, w.iifIn(fenceBridges), accepts())
	w.add(raw, iif("lo"), accepts())
	for _, v := range []family{ipv4, ipv6} {
		w.add(tunnel, source(v), w.in(fencePeers+v.digit()), accepts()) // ip saddr @peers accept
		if f.Direct != "" {
			// iifname UNDERLAY meta mark set ip saddr map @groups: breaks off where
			// there is no such pool.
			w.add(raw, iif(f.Direct), source(v), w.toMark(fenceGroups+v.digit()), accepts())
		}
		// ip saddr @ranges drop
		w.add(raw, source(v), w.in(fenceRanges+v.digit()), drops())
	}
	w.add(tunnel, drops())
}

// outer matches the tunnel's own packets by this host's end. Nobody translates
// them, so connection tracking would only cost.
func (w *fenceWriter) outer(f wire.Fence, end func(family) []expr.Any) []expr.Any {
	match := portOf(unix.IPPROTO_UDP, f.Port)
	if !f.Local.IsValid() {
		return match
	}
	match = append(match, end(familyOf(f.Local))...)
	return append(match, equal(false, f.Local.AsSlice()))
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

// forwarded guards the source of what leaves, marks it with its network's
// group, and lets in what the network admits. The mark is the group in the
// tunnel's header: the kernel copies it on both ends.
func (w *fenceWriter) forwarded(f wire.Fence) {
	forward := w.hook("forward", nft.ChainHookForward, *nft.ChainPriorityFilter-1)
	out, in := w.chain("leaving"), w.chain("entering")
	w.add(forward, iif(f.Device), goesTo(in))
	w.add(forward, oif(f.Device), goesTo(out))
	if f.Direct != "" {
		for _, v := range []family{ipv4, ipv6} {
			w.add(forward, destination(v), w.in(fencePeers+v.digit()), w.iifIn(fenceBridges), source(v), w.notIn(fenceOwn+v.digit()), drops())
			w.add(forward, iif(f.Direct), source(v), w.in(fencePeers+v.digit()), goesTo(in))
		}
	}
	for _, v := range []family{ipv4, ipv6} {
		// ip saddr @own meta mark set iifname map @leaving accept
		w.add(out, source(v), w.in(fenceOwn+v.digit()), meta(expr.MetaKeyIIFNAME, 0), w.toMark(fenceLeaving), accepts())
	}
	w.add(out, drops()) // neither a pool of ours, nor a network's bridge
	// meta mark . oifname != @admit drop
	w.add(in, meta(expr.MetaKeyMARK, 0), meta(expr.MetaKeyOIFNAME, 1), w.notIn(fenceAdmit), drops())
	w.add(in, marks(0)) // other programs have marks of their own
}

// incoming hears tunnel packets, probes and names only from members.
func (w *fenceWriter) incoming(f wire.Fence) {
	input := w.hook("input", nft.ChainHookInput, *nft.ChainPriorityFilter-1)
	for _, port := range []uint16{f.Port, f.Port + 1} {
		for _, v := range []family{ipv4, ipv6} {
			if len(v.addrs(f.Members)) > 0 {
				// udp dport PORT ip saddr @members accept
				w.add(input, portOf(unix.IPPROTO_UDP, port), source(v), w.in(fenceMembers+v.digit()), accepts())
			}
		}
		w.add(input, portOf(unix.IPPROTO_UDP, port), drops())
	}
	for _, v := range []family{ipv4, ipv6} { // where hosts exchange names (tcp)
		w.add(input, portOf(unix.IPPROTO_TCP, f.Port+1), destination(v), w.in(fenceMembers+v.digit()), source(v), w.notIn(fenceMembers+v.digit()), drops())
	}
	w.add(input, iif(f.Device), marks(0))
}

// outgoing keeps the mark of the inner packet from having a meaning for the
// outer one (kubernetes#92035: a second masquerade), and guards what the host
// itself sends into the overlay.
func (w *fenceWriter) outgoing(f wire.Fence) {
	output := w.hook("output", nft.ChainHookOutput, *nft.ChainPriorityRaw)
	host := w.chain("from-host")
	w.add(output, w.outer(f, source), untracked(), marks(0), accepts())
	w.add(output, oif(f.Device), goesTo(host))
	for _, v := range []family{ipv4, ipv6} {
		w.add(host, source(v), w.notIn(fenceOwn+v.digit()), drops())
		w.add(host, source(v), w.toMark(fenceHosts+v.digit()), accepts())
	}
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

// source loads the source address, of packets of the family only.
func source(f family) []expr.Any { return addressOf(f, f.sourceOffset()) }

func destination(f family) []expr.Any { return addressOf(f, f.sourceOffset()+f.size()) }

func addressOf(f family, offset uint32) []expr.Any {
	protocol := byte(unix.NFPROTO_IPV4)
	if f == ipv6 {
		protocol = unix.NFPROTO_IPV6
	}
	return append(meta(expr.MetaKeyNFPROTO, 0), equal(false, []byte{protocol}),
		&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size()})
}

func (w *fenceWriter) in(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), SetName: set, SetID: w.sets[set].ID}}
}

func (w *fenceWriter) notIn(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register(0), SetName: set, SetID: w.sets[set].ID, Invert: true}}
}

// toMark makes the packet's mark what a map says.
func (w *fenceWriter) toMark(set string) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: register(0), DestRegister: register(0), IsDestRegSet: true, SetName: set, SetID: w.sets[set].ID},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register(0)},
	}
}

func marks(value uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register(0), Data: binary.NativeEndian.AppendUint32(nil, value)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register(0)},
	}
}

// portOf matches the destination port of a transport protocol.
func portOf(protocol byte, port uint16) []expr.Any {
	return append(meta(expr.MetaKeyL4PROTO, 0), equal(false, []byte{protocol}),
		portToRegister(0), equal(false, binary.BigEndian.AppendUint16(nil, port)))
}

// accepts ends this table's say in this hook, no more.
func accepts() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func drops() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

// goesTo leads to a chain whose end is the end of this one, too.
func goesTo(chain *nft.Chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain.Name}}
}

func untracked() []expr.Any { return []expr.Any{&expr.Notrack{}} }
