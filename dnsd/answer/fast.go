package answer

import (
	"encoding/binary"
	"net/netip"

	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
)

// pointer is the mark of a compression pointer (RFC 1035 section 4.1.4);
// questionName leads to the name in the question, the first of a message.
const (
	pointer      = 0xc000
	questionName = pointer | message.HeaderLen
)

// recordLen is the length of a record that is owned by a pointer, without its data.
const recordLen = 2 + 2 + 2 + 4 + 2

// appendFast writes addresses and negative answers. ok is false for all others.
func (w Writer) appendFast(dst []byte, q Question, turn int) (out []byte, ok bool) {
	f, ok := q.family()
	if !ok || q.Type == message.TypeANY {
		return dst, false
	}
	if q.Kind == names.Exists && q.Set != nil {
		if addrs := q.Set.Addrs(f); len(addrs) > 0 {
			return w.appendAddresses(dst, q, addrs, turn), true
		}
	}
	return w.appendNothing(dst, q), true
}

func (w Writer) appendAddresses(dst []byte, q Question, addrs []netip.Addr, turn int) []byte {
	size := recordLen + addrs[0].BitLen()/8
	room := q.Limit - message.HeaderLen - len(q.Question(q.Msg)) - message.OPTLen(q.Query, q.Info)
	n, flags := len(addrs), uint16(message.FlagAA)
	if fit := room / size; n > fit {
		n, flags = fit, flags|message.FlagTC
	}
	dst = message.AppendStart(dst, q.Query, q.Msg, flags, message.NoError, n, 0)
	for range n {
		if turn == len(addrs) {
			turn = 0
		}
		dst = w.appendAddress(dst, q.Type, addrs[turn])
		turn++
	}
	return message.AppendOPT(dst, q.Query, message.NoError, q.Info)
}

func (w Writer) appendAddress(dst []byte, kind uint16, a netip.Addr) []byte {
	dst = binary.BigEndian.AppendUint16(dst, questionName)
	dst = appendTypeTTL(dst, kind, w.TTL)
	if a.Is4() {
		b := a.As4()
		return append(append(dst, 0, 4), b[:]...)
	}
	b := a.As16()
	return append(append(dst, 0, 16), b[:]...)
}

// appendNothing writes NODATA or NXDOMAIN, with the zone's SOA record. It is
// dropped, without TC, from a reply that it would make too large: no question
// needs it (RFC 2181 section 9).
func (w Writer) appendNothing(dst []byte, q Question) []byte {
	soa := w.soaLen(q)
	authority := 1
	if message.HeaderLen+len(q.Question(q.Msg))+soa+message.OPTLen(q.Query, q.Info) > q.Limit {
		authority = 0
	}
	dst = message.AppendStart(dst, q.Query, q.Msg, message.FlagAA, q.rcode(), 0, authority)
	if authority > 0 {
		dst = w.appendSOA(dst, q)
	}
	return message.AppendOPT(dst, q.Query, q.rcode(), q.Info)
}

// soaNumbers is the length of an SOA record's five numbers.
const soaNumbers = 5 * 4

// soaLen is an upper bound, for names that are written in full.
func (w Writer) soaLen(q Question) int {
	return recordLen + len(q.Server) + 1 + len(w.Mail) + 1 + soaNumbers
}

func (w Writer) appendSOA(dst []byte, q Question) []byte {
	if q.Zone == len(q.Name()) { // the root is as short as a pointer gets
		dst = append(dst, 0)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, questionName+uint16(q.Zone))
	}
	dst = appendTypeTTL(dst, message.TypeSOA, w.NegativeTTL)
	at := len(dst)
	dst = append(dst, 0, 0)
	dst = append(append(dst, q.Server...), 0)
	dst = append(append(dst, w.Mail...), 0)
	for _, n := range [...]uint32{w.Serial, soaRefresh, soaRetry, soaExpire, w.NegativeTTL} {
		dst = binary.BigEndian.AppendUint32(dst, n)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(len(dst)-at-2))
	return dst
}

// appendTypeTTL appends what is between a record's owner and its data's length.
func appendTypeTTL(dst []byte, kind uint16, ttl uint32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, message.ClassINET)
	return binary.BigEndian.AppendUint32(dst, ttl)
}
