package answer

import (
	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
)

// A Writer writes replies. It has no state and is safe for concurrent use.
type Writer struct {
	// TTL of records in seconds, and NegativeTTL of the knowledge that there is
	// none (RFC 2308). Zero is the default: a container's address may be
	// another's the second after.
	TTL, NegativeTTL uint32
	// Mail is the RNAME of SOA records.
	Mail names.Name
	// Serial is the SOA's.
	Serial uint32
}

// A Question is a request that was read, and the name's meaning.
type Question struct {
	*message.Query
	// Msg are the bytes that Query was read from.
	Msg []byte
	names.Answer
	// Limit is the largest reply in bytes.
	Limit int
	// Info is the extended error of a name that is missing, or NoInfo.
	Info uint16
}

// Append appends the reply to dst, which is returned. turn is the address that
// comes first.
func (w Writer) Append(dst []byte, q Question) ([]byte, error) {
	if out, ok := w.appendFast(dst, q, q.turn()); ok {
		return out, nil
	}
	return w.appendLibrary(dst, q, q.turn())
}

// turn is where this answer's addresses begin.
func (q Question) turn() int {
	if f, ok := q.family(); ok && q.Set != nil {
		return q.Set.Turn(f)
	}
	return 0
}

// family is the one that the question's type asks for, if it asks for addresses.
func (q Question) family() (names.Family, bool) {
	switch q.Type {
	case message.TypeA:
		return names.V4, true
	case message.TypeAAAA:
		return names.V6, true
	case message.TypeANY: // one RRset is enough (RFC 8482 section 4.1)
		if q.Set != nil && len(q.Set.Addrs(names.V4)) == 0 {
			return names.V6, true
		}
		return names.V4, true
	}
	return names.V4, false
}

// rcode is the reply's.
func (q Question) rcode() int {
	if q.Kind == names.Missing {
		return message.NXDomain
	}
	return message.NoError
}

// Times of our SOA records in seconds. Nothing transfers these zones, so they
// only have to be plausible.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)
