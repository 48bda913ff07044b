package firewall

import (
	"net"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The kernel's register file: 16 of four bytes each; a value longer than that
// goes on in the next ones.
func register(n int) uint32 { return unix.NFT_REG32_00 + uint32(n) }

// exprs writes a rule as the kernel's expressions, in the order and shape that
// the nft program uses, so that it can list them as text.
func exprs(f family, r rule) []expr.Any {
	return append(matchExprs(f, r), verdictExprs(f, r.do)...)
}

// matchExprs are the conditions of a rule.
func matchExprs(f family, r rule) []expr.Any {
	var all []expr.Any
	all = append(all, addressExprs(f, r.src, f.sourceOffset())...)
	all = append(all, addressExprs(f, r.dst, f.sourceOffset()+f.size())...)
	all = append(all, deviceExprs(expr.MetaKeyIIFNAME, r.in)...)
	all = append(all, deviceExprs(expr.MetaKeyOIFNAME, r.out)...)
	if r.dstLocal {
		all = append(all,
			&expr.Fib{Register: register(0), FlagDADDR: true, ResultADDRTYPE: true},
			equal(false, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)))
	}
	if r.proto != "" {
		all = append(all, protocolToRegister(0), equal(false, []byte{protocolNumber(r.proto)}))
	}
	if r.ports != (portSpan{}) {
		all = append(all, portToRegister(0), equal(false, binaryutil.BigEndian.PutUint16(r.ports.first)))
	}
	return append(all, stateExprs(r.state)...)
}

// size is the length of an address in bytes.
func (f family) size() uint32 { return uint32(f.any().Addr().BitLen() / 8) }

// sourceOffset is where the source address is in the IP header; the
// destination follows it.
func (f family) sourceOffset() uint32 {
	if f == ipv4 {
		return 12
	}
	return 8
}

// equal compares the first registers.
func equal(not bool, data []byte) expr.Any {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return &expr.Cmp{Op: op, Register: register(0), Data: data}
}

func deviceExprs(key expr.MetaKey, d device) []expr.Any {
	if d.name == "" {
		return nil
	}
	return []expr.Any{&expr.Meta{Key: key, Register: register(0)}, equal(d.not, deviceKey(d.name))}
}

func addressExprs(f family, a address, offset uint32) []expr.Any {
	if !a.IsValid() {
		return nil
	}
	all := []expr.Any{&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size()}}
	if !a.IsSingleIP() {
		mask := net.CIDRMask(a.Bits(), a.Addr().BitLen())
		all = append(all, bitmask(f.size(), mask))
	}
	return append(all, equal(a.not, a.Masked().Addr().AsSlice()))
}

func bitmask(size uint32, mask []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: register(0), DestRegister: register(0), Len: size, Mask: mask, Xor: make([]byte, size)}
}

// stateExprs matches any of the states, or none.
func stateExprs(s stateMatch) []expr.Any {
	var all []expr.Any
	match := func(key expr.CtKey, bits uint32) {
		if bits != 0 {
			all = append(all, &expr.Ct{Key: key, Register: register(0)}, bitmask(4, binaryutil.NativeEndian.PutUint32(bits)),
				equal(!s.not, make([]byte, 4)))
		}
	}
	var state, status uint32
	if s.connState&established != 0 {
		state |= expr.CtStateBitESTABLISHED
	}
	if s.connState&related != 0 {
		state |= expr.CtStateBitRELATED
	}
	if s.connState&translated != 0 {
		const ipsDstNAT = 1 << 5 // IPS_DST_NAT
		status |= ipsDstNAT
	}
	match(expr.CtKeySTATE, state)
	match(expr.CtKeySTATUS, status)
	return all
}

func protocolToRegister(n int) expr.Any {
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(n)}
}

// portToRegister loads the destination port, which is at the same place in
// TCP, UDP and SCTP.
func portToRegister(n int) expr.Any {
	return &expr.Payload{DestRegister: register(n), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func verdictExprs(f family, v verdict) []expr.Any {
	switch v.action {
	case accept:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	case drop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	case leave:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	case jump:
		kind := expr.VerdictJump
		if v.final {
			kind = expr.VerdictGoto
		}
		return []expr.Any{&expr.Verdict{Kind: kind, Chain: v.chain.name}}
	case masquerade:
		return []expr.Any{&expr.Masq{}}
	case snat:
		return snatExprs(f, v.to)
	case dispatchOut:
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: register(0)}, lookup(v, unix.NFT_REG_VERDICT)}
	case dispatchIn:
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register(0)}, lookup(v, unix.NFT_REG_VERDICT)}
	case dnat, reroute:
		return []expr.Any{
			&expr.Immediate{Register: register(0), Data: v.to.AsSlice()},
			&expr.Immediate{Register: register(int(f.size() / 4)), Data: binaryutil.BigEndian.PutUint16(v.ports.first)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.netlink()), RegAddrMin: register(0), RegProtoMin: register(int(f.size() / 4))},
		}
	default:
		return dnatExprs(f, v)
	}
}

func lookup(v verdict, into uint32) expr.Any {
	return &expr.Lookup{SourceRegister: register(0), DestRegister: into, IsDestRegSet: true, SetName: v.chain.name}
}

func snatExprs(f family, to netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register(0), Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(f.netlink()), RegAddrMin: register(0)},
	}
}

// dnatExprs looks the packet's destination up. The map gives an address and,
// but for ranges that keep their numbers, a port behind it.
func dnatExprs(f family, v verdict) []expr.Any {
	var all []expr.Any
	words := 0
	if v.chain.name != nftPublishAny {
		all = append(all, &expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader,
			Offset: f.sourceOffset() + f.size(), Len: f.size()})
		words = int(f.size() / 4)
	}
	to := &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.netlink()), RegAddrMin: register(0)}
	if v.chain.name != nftRanges {
		to.RegProtoMin = register(int(f.size() / 4))
	}
	return append(all, protocolToRegister(words), portToRegister(words+1), lookup(v, register(0)), to)
}
