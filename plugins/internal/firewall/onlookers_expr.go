package firewall

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net"
	"net/netip"
	"slices"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// meet tells whether such packets can be what a rule is about: unless one of its
// conditions is a comparison that holds for none of them.
func (p Passers) meet(r *nft.Rule) bool {
	q := reader{Passers: p, read: map[uint32]expr.Any{}, masks: map[uint32][]byte{}}
	switch r.Table.Family {
	case nft.TableFamilyIPv4:
		q.family, q.known = ipv4, true
	case nft.TableFamilyIPv6:
		q.family, q.known = ipv6, true
	}
	return !slices.ContainsFunc(r.Exprs, q.excludes)
}

// A reader goes through a rule as the kernel does.
type reader struct {
	Passers
	// family of the packets that come as far as this, where the table or a condition
	// says so.
	family family
	known  bool
	// read is what was read into a register last, and masks what it was cut to.
	read  map[uint32]expr.Any
	masks map[uint32][]byte
}

// excludes tells whether no packet comes past an expression.
func (q *reader) excludes(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.Meta:
		q.read[e.Register], q.masks[e.Register] = e, nil
	case *expr.Payload:
		q.read[e.DestRegister], q.masks[e.DestRegister] = e, nil
	case *expr.Fib:
		q.read[e.Register], q.masks[e.Register] = e, nil
	case *expr.Bitwise:
		q.read[e.DestRegister], q.masks[e.DestRegister] = q.read[e.SourceRegister], e.Mask
		if len(bytes.Trim(e.Xor, "\x00")) > 0 {
			delete(q.read, e.DestRegister)
		}
	case *expr.Cmp:
		return e.Op == expr.CmpOpEq && !q.have(q.read[e.Register], q.masks[e.Register], e.Data)
	case *expr.Match:
		return !meetsAddressType(e)
	default:
		if writes(e) { // what, and where, is not known
			clear(q.read)
		}
	}
	return false
}

// writes tells whether an expression may change a register.
func writes(e expr.Any) bool {
	switch e.(type) {
	case *expr.Counter, *expr.Verdict, *expr.Log, *expr.Masq, *expr.Reject, *expr.Target, *expr.Limit:
		return false
	}
	return true
}

// have tells whether any of the packets has this value, as far as that is known.
func (q *reader) have(what expr.Any, mask, value []byte) bool {
	switch e := what.(type) {
	case *expr.Meta:
		return mask != nil || q.haveMeta(e, value)
	case *expr.Payload:
		return e.Base != expr.PayloadBaseNetworkHeader || q.haveAddress(e, mask, value)
	case *expr.Fib:
		// Their destination is no address of this host's, nor everybody's.
		return !e.ResultADDRTYPE || !e.FlagDADDR || mask != nil || !bytes.Equal(value, binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL))
	}
	return true
}

// haveMeta compares links, and learns which family the rest is about. A name that is cut short, without its end, stands for
// all that begin so.
func (q *reader) haveMeta(e *expr.Meta, value []byte) bool {
	switch e.Key {
	case expr.MetaKeyNFPROTO:
		if len(value) == 1 {
			q.family, q.known = ipv4, true
			if value[0] == unix.AF_INET6 {
				q.family = ipv6
			}
		}
	case expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME:
		name, _, whole := bytes.Cut(value, []byte{0})
		return slices.ContainsFunc(q.Links, func(link string) bool {
			return link == string(name) || !whole && bytes.HasPrefix([]byte(link), name)
		})
	case expr.MetaKeyIIF, expr.MetaKeyOIF:
		if len(value) != 4 {
			return true
		}
		link, err := net.InterfaceByIndex(int(binary.NativeEndian.Uint32(value)))
		return err == nil && slices.Contains(q.Links, link.Name)
	}
	return true
}

// haveAddress compares a source or destination with the ranges.
func (q *reader) haveAddress(e *expr.Payload, mask, value []byte) bool {
	source, size := q.family.sourceOffset(), q.family.size()
	isAddress := q.known && (e.Offset == source || e.Offset == source+size) && len(value) <= int(size)
	length := len(value) * 8
	if mask != nil {
		length = ones(mask)
	}
	if !isAddress || length < 0 {
		return true
	}
	first, _ := netip.AddrFromSlice(append(slices.Clone(value), make([]byte, int(size)-len(value))...))
	return slices.ContainsFunc(q.Ranges, netip.PrefixFrom(first, length).Overlaps)
}

// ones is the length of the prefix that a mask is of, -1 for another mask.
func ones(mask []byte) (n int) {
	for _, b := range mask {
		n += bits.OnesCount8(b)
	}
	for i, b := range mask {
		if want := byte(0xff) << (8 - min(8, max(0, n-8*i))); b != want {
			return -1
		}
	}
	return n
}

// meetsAddressType is about iptables' addrtype.
func meetsAddressType(m *expr.Match) bool {
	a, ok := m.Info.(*xt.AddrTypeV1)
	const unicast, invertsDestination = 1 << unix.RTN_UNICAST, 1 << 1 // XT_ADDRTYPE_INVERT_DEST
	return !ok || a.Dest == 0 || a.Dest&unicast != 0 || a.Flags&invertsDestination != 0
}
