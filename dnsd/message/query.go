package message

import (
	"encoding/binary"

	"github.com/netctl/netctl/dnsd/names"
)

// HeaderLen is the length of a message's header (RFC 1035 section 4.1.1).
const HeaderLen = 12

// Bits of the header's second 16-bit word.
const (
	FlagQR = 1 << 15
	FlagAA = 1 << 10
	FlagTC = 1 << 9
	FlagRD = 1 << 8
	FlagRA = 1 << 7
	FlagAD = 1 << 5
	FlagCD = 1 << 4

	opcodeMask = 0xf << 11
)

// Response codes, as in the IANA registry. The upper eight bits of the 12 fit
// only in an OPT record (RFC 6891 section 6.1.3).
const (
	NoError  = 0
	FormErr  = 1
	ServFail = 2
	NXDomain = 3
	NotImp   = 4
	Refused  = 5
	BadVers  = 16
)

// Types and classes that mean something to a resolver.
const (
	TypeA     = 1
	TypeNS    = 2
	TypeSOA   = 6
	TypePTR   = 12
	TypeAAAA  = 28
	TypeOPT   = 41
	TypeIXFR  = 251
	TypeAXFR  = 252
	TypeANY   = 255
	ClassINET = 1
)

// EDNS payload sizes in bytes. UDPSize is what we offer and the most we send:
// with its headers it is the 1280 bytes that every IPv6 path takes, so nothing
// is ever sent in fragments (RFC 9715). Less than MinUDPSize is read as that
// (RFC 6891 section 6.2.3).
const (
	UDPSize    = 1232
	MinUDPSize = 512
	MaxSize    = 65535
)

// Verdict is what becomes of a request on reading it.
type Verdict uint8

// The verdicts.
const (
	// Valid requests are answered according to their question.
	Valid Verdict = iota
	// Drop is for what isn't a request at all: no header, or a response. An
	// answer to a response could go back and forth forever.
	Drop
	// Malformed requests get FORMERR, Unsupported ones (any opcode but QUERY)
	// NOTIMP; both with nothing but a header.
	Malformed
	Unsupported
)

// Query is a request as far as it concerns a resolver. Its zero value is ready
// for Parse, again and again.
type Query struct {
	ID    uint16
	Flags uint16
	Type  uint16
	Class uint16

	// EDNS tells whether there was an OPT record; the next three come from it.
	EDNS    bool
	DO      bool
	Version uint8
	// Size is the largest UDP reply that the client takes, at least 512.
	Size uint16

	nameLen int
	name    [maxNameLen]byte // lower case, without the root
	end     int              // of the question
	opt     int              // where the OPT record begins, if EDNS
}

// maxNameLen is the longest name on the wire with its root octet.
const maxNameLen = 255

// Name is the name asked for, in lower case. It is valid until the next Parse.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// Question is the question as it came in msg, to be echoed byte for byte.
func (q *Query) Question(msg []byte) []byte { return msg[HeaderLen:q.end] }

// Limit is the largest reply in bytes that may be sent over UDP.
func (q *Query) Limit() int { return int(min(q.Size, UDPSize)) }

// Parse reads a request.
func (q *Query) Parse(msg []byte) Verdict {
	if len(msg) < HeaderLen {
		return Drop
	}
	q.ID, q.Flags = binary.BigEndian.Uint16(msg), binary.BigEndian.Uint16(msg[2:])
	q.EDNS, q.DO, q.Version, q.Size = false, false, 0, MinUDPSize
	switch {
	case q.Flags&FlagQR != 0:
		return Drop
	case q.Flags&opcodeMask != 0:
		return Unsupported
	case binary.BigEndian.Uint16(msg[4:]) != 1: // RFC 9619
		return Malformed
	}
	if !q.parseQuestion(msg) || !q.parseRecords(msg) {
		return Malformed
	}
	return Valid
}

// parseQuestion reads the question's name, type and class. The first name of a
// message has nothing before it that a compression pointer could point at.
func (q *Query) parseQuestion(msg []byte) bool {
	off := HeaderLen
	for {
		if off >= len(msg) {
			return false
		}
		n := int(msg[off])
		if n == 0 {
			break
		}
		off += 1 + n
		if n > 63 || off-HeaderLen > maxNameLen-1 {
			return false
		}
	}
	if off+5 > len(msg) {
		return false
	}
	q.nameLen = copy(q.name[:], msg[HeaderLen:off])
	names.Lower(q.name[:q.nameLen])
	q.Type = binary.BigEndian.Uint16(msg[off+1:])
	q.Class = binary.BigEndian.Uint16(msg[off+3:])
	q.end = off + 5
	return true
}

// parseRecords walks over what follows the question, up to the very end of the
// message, and reads the OPT record if there is one.
func (q *Query) parseRecords(msg []byte) bool {
	before := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	off := q.end
	for i := range before + additional {
		r, ok := readRecord(msg, off)
		if !ok {
			return false
		}
		if r.kind == TypeOPT {
			// One at most, among the additional records, owned by the root
			// (RFC 6891 section 6.1.1 and 6.1.2).
			if q.EDNS || i < before || msg[off] != 0 || !validOptions(msg[r.data:r.end]) {
				return false
			}
			q.readOPT(msg, off)
		}
		off = r.end
	}
	return off == len(msg)
}

// Layout of an OPT record after its owner's zero byte: type, size, extended
// rcode, version, flags, length (RFC 6891 section 6.1.2).
const (
	optSize    = 3
	optVersion = 6
	optFlags   = 7
	optDataLen = 9
	optLen     = 11

	flagDO = 1 << 15
)

func (q *Query) readOPT(msg []byte, off int) {
	q.EDNS, q.opt = true, off
	q.Size = max(binary.BigEndian.Uint16(msg[off+optSize:]), MinUDPSize)
	q.Version = msg[off+optVersion]
	q.DO = binary.BigEndian.Uint16(msg[off+optFlags:])&flagDO != 0
}

// validOptions tells whether options end where the record does.
func validOptions(data []byte) bool {
	for len(data) > 0 {
		if len(data) < 4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(data[2:]))
		if n > len(data) {
			return false
		}
		data = data[n:]
	}
	return true
}
