package message

import "encoding/binary"

// Info codes of extended errors (RFC 8914 section 4).
const (
	NoInfo             = 0xffff // not sent
	InfoOther          = 0
	InfoProhibited     = 18
	InfoNotSupported   = 21
	InfoNoReachable    = 22
	InfoNetworkError   = 23
	optionExtendedErr  = 15
	extendedErrDataLen = 2
)

// AppendHeader appends a reply's header to a request whose question could not
// be read, or that asks for something other than an answer.
func AppendHeader(dst []byte, q *Query, rcode int) []byte {
	return appendHeader(dst, q, q.Flags&(opcodeMask|FlagRD|FlagCD), rcode, [4]uint16{})
}

// replyFlags are those of every answer to a query: RD and CD as they came,
// recursion available. AD stays off: we validate nothing.
func replyFlags(q *Query) uint16 { return q.Flags&(FlagRD|FlagCD) | FlagRA }

func appendHeader(dst []byte, q *Query, flags uint16, rcode int, counts [4]uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, q.ID)
	dst = binary.BigEndian.AppendUint16(dst, flags|FlagQR|uint16(rcode&0xf))
	for _, n := range counts {
		dst = binary.BigEndian.AppendUint16(dst, n)
	}
	return dst
}

// AppendFailure appends a reply without records: the question, and an OPT
// record if the request had one, with the reason (NoInfo for none).
func AppendFailure(dst []byte, q *Query, msg []byte, rcode int, info uint16) []byte {
	dst = AppendStart(dst, q, msg, 0, rcode, 0, 0)
	return AppendOPT(dst, q, rcode, info)
}

// AppendStart appends the header and the question of a reply with so many
// records in its answer and authority sections. flags are AA and TC. The
// caller appends the records and ends with AppendOPT.
func AppendStart(dst []byte, q *Query, msg []byte, flags uint16, rcode, answers, authority int) []byte {
	counts := [4]uint16{1, uint16(answers), uint16(authority), 0}
	if q.EDNS {
		counts[3] = 1
	}
	dst = appendHeader(dst, q, replyFlags(q)|flags, rcode, counts)
	return append(dst, q.Question(msg)...)
}

// OPTLen is the length of what AppendOPT appends.
func OPTLen(q *Query, info uint16) int {
	switch {
	case !q.EDNS:
		return 0
	case info != NoInfo:
		return optLen + 4 + extendedErrDataLen
	}
	return optLen
}

// AppendOPT appends our OPT record if the request had one (RFC 6891 section
// 6.1.1): version 0, DO as it came, and the reason of a failure.
func AppendOPT(dst []byte, q *Query, rcode int, info uint16) []byte {
	if !q.EDNS {
		return dst
	}
	var flags uint16
	if q.DO {
		flags = flagDO
	}
	dst = append(dst, 0, 0, TypeOPT)
	dst = binary.BigEndian.AppendUint16(dst, UDPSize)
	dst = append(dst, byte(rcode>>4), 0)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	if info == NoInfo {
		return append(dst, 0, 0)
	}
	dst = binary.BigEndian.AppendUint16(dst, 4+extendedErrDataLen)
	dst = binary.BigEndian.AppendUint16(dst, optionExtendedErr)
	dst = binary.BigEndian.AppendUint16(dst, extendedErrDataLen)
	return binary.BigEndian.AppendUint16(dst, info)
}
