package message

import (
	"bytes"
	"encoding/binary"
)

// AppendForward appends the request as it goes to an upstream server: the same
// bytes, but for an advertised size that is at most ours (RFC 5625 section 4:
// a proxy changes nothing that it need not). The caller sets the ID.
func AppendForward(dst []byte, q *Query, msg []byte) []byte {
	start := len(dst)
	dst = append(dst, msg...)
	if q.EDNS {
		binary.BigEndian.PutUint16(dst[start+q.opt+optSize:], uint16(q.Limit()))
	}
	return dst
}

// SetID writes a message's ID.
func SetID(msg []byte, id uint16) { binary.BigEndian.PutUint16(msg, id) }

// ID is a message's ID; the message has at least a header.
func ID(msg []byte) uint16 { return binary.BigEndian.Uint16(msg) }

// Match is how a datagram from a server relates to a question.
type Match uint8

// The relations.
const (
	// Unrelated is no reply, or one to another question: it is ignored and the
	// wait goes on (RFC 5452 section 9.1).
	Unrelated Match = iota
	// Garbled replies answer the question, but can't be read to their end.
	Garbled
	// Matched replies are whole.
	Matched
)

// ReadReply compares a server's reply with the question that it was asked.
// Servers that could not read the request may leave the question out.
func ReadReply(reply, question []byte) (rcode int, m Match) {
	if len(reply) < HeaderLen {
		return 0, Unrelated
	}
	flags := binary.BigEndian.Uint16(reply[2:])
	if flags&FlagQR == 0 || flags&opcodeMask != 0 {
		return 0, Unrelated
	}
	rcode = int(flags & 0xf)
	off := HeaderLen
	switch binary.BigEndian.Uint16(reply[4:]) {
	case 0:
		if rcode == NoError || rcode == NXDomain {
			return rcode, Unrelated
		}
	case 1:
		off += len(question)
		if off > len(reply) || !sameQuestion(reply[HeaderLen:off], question) {
			return rcode, Unrelated
		}
	default:
		return rcode, Unrelated
	}
	if !wholeRecords(reply, off) {
		return rcode, Garbled
	}
	return rcode, Matched
}

// sameQuestion compares two questions without regard to case in the name. The
// last four bytes, type and class, are no letters.
func sameQuestion(a, b []byte) bool {
	n := len(a) - 4
	if !bytes.Equal(a[n:], b[n:]) {
		return false
	}
	for i, c := range a[:n] {
		if c != b[i] && (lower(c) != lower(b[i])) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// wholeRecords tells whether the records that the header counts are all there.
func wholeRecords(msg []byte, off int) bool {
	for range recordCount(msg) {
		r, ok := readRecord(msg, off)
		if !ok {
			return false
		}
		off = r.end
	}
	return true
}

func recordCount(msg []byte) int {
	return int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:])) + int(binary.BigEndian.Uint16(msg[10:]))
}

// Asked is what a reply has to suit in the client's request.
type Asked struct {
	EDNS bool
	// Limit is the largest reply in bytes.
	Limit int
}

// ReturnReply makes a server's reply, in place, the one for a client: the
// client's spelling of the name, no OPT record that it did not ask for, and no
// more bytes than it takes. The ID is the caller's.
func ReturnReply(reply, question []byte, a Asked) []byte {
	hasQuestion := binary.BigEndian.Uint16(reply[4:]) == 1
	if hasQuestion {
		copy(reply[HeaderLen:], question)
		if !a.EDNS {
			reply = dropOPT(reply, HeaderLen+len(question))
		}
	}
	if len(reply) <= a.Limit {
		return reply
	}
	reply[2] |= FlagTC >> 8
	clear(reply[6:HeaderLen])
	if !hasQuestion {
		return reply[:HeaderLen]
	}
	return reply[:HeaderLen+len(question)]
}

// dropOPT takes away an OPT record at the end of a message, where servers put
// it. In front of others it stays: to take it away would move their names. The
// records begin at off.
func dropOPT(msg []byte, off int) []byte {
	additional := binary.BigEndian.Uint16(msg[10:])
	for left := recordCount(msg); left > 0 && additional > 0; left-- {
		r, ok := readRecord(msg, off)
		if !ok {
			return msg
		}
		if left == 1 && r.kind == TypeOPT {
			binary.BigEndian.PutUint16(msg[10:], additional-1)
			return msg[:off]
		}
		off = r.end
	}
	return msg
}
