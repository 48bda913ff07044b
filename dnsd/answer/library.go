package answer

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/message"
	"github.com/netctl/netctl/dnsd/names"
)

// appendLibrary writes any reply with the DNS library.
func (w Writer) appendLibrary(dst []byte, q Question, turn int) ([]byte, error) {
	m, err := w.reply(q, turn)
	if err != nil {
		return dst, err
	}
	if m.Len() > q.Limit {
		shorten(m, q.Limit)
	}
	out, err := m.PackBuffer(dst[len(dst):cap(dst)])
	if err != nil {
		return dst, fmt.Errorf("pack the reply to %s: %w", names.Name(q.Name()), err)
	}
	return append(dst, out...), nil
}

// shorten makes a reply fit. An SOA record that goes with no answer is not
// required by any question, so its loss is no truncation (RFC 2181 section 9).
func shorten(m *dns.Msg, limit int) {
	if len(m.Answer) == 0 {
		m.Ns = nil
		return
	}
	m.Truncate(limit)
}

func (w Writer) reply(q Question, turn int) (*dns.Msg, error) {
	owner, _, err := dns.UnpackDomainName(q.Msg, message.HeaderLen)
	if err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	m := &dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: q.ID, Response: true, Rcode: q.rcode(),
			Authoritative: true, RecursionAvailable: true,
			RecursionDesired: q.Flags&message.FlagRD != 0,
			CheckingDisabled: q.Flags&message.FlagCD != 0,
		},
		Compress: true,
		Question: []dns.Question{{Name: owner, Qtype: q.Type, Qclass: q.Class}},
	}
	m.Answer = w.records(q, owner, turn)
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{w.soa(q, w.NegativeTTL)}
	}
	if q.EDNS {
		m.Extra = []dns.RR{opt(q)}
	}
	return m, nil
}

// records are the answer to the question; none of them make it NODATA, or
// NXDOMAIN if the name is missing.
func (w Writer) records(q Question, owner string, turn int) []dns.RR {
	if q.Kind != names.Exists {
		return nil
	}
	header := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: kind, Class: dns.ClassINET, Ttl: w.TTL}
	}
	any := q.Type == message.TypeANY
	if f, ok := q.family(); ok && q.Set != nil && len(q.Set.Addrs(f)) > 0 {
		return addresses(q.Set.Addrs(f), turn, header)
	}
	switch {
	case (q.Type == message.TypePTR || any) && q.Pointer != "":
		return []dns.RR{&dns.PTR{Hdr: header(dns.TypePTR), Ptr: text(q.Pointer)}}
	case (q.Type == message.TypeSOA || any) && q.Apex:
		return []dns.RR{w.soa(q, w.TTL)}
	case q.Type == message.TypeNS && q.Apex:
		return []dns.RR{&dns.NS{Hdr: header(dns.TypeNS), Ns: text(q.Server)}}
	}
	return nil
}

// addresses are the records of a name's addresses, beginning with number turn.
func addresses(addrs []netip.Addr, turn int, header func(uint16) dns.RR_Header) []dns.RR {
	list := make([]dns.RR, len(addrs))
	for i := range addrs {
		a := addrs[(turn+i)%len(addrs)]
		if a.Is4() {
			list[i] = &dns.A{Hdr: header(dns.TypeA), A: a.AsSlice()}
		} else {
			list[i] = &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: a.AsSlice()}
		}
	}
	return list
}

// soa is the record of the zone that the name belongs to, which is spelled as
// in the question. Its minimum is what
// says how long a negative answer may be kept (RFC 2308 section 4), and its
// TTL in such an answer is no longer (section 3).
func (w Writer) soa(q Question, ttl uint32) dns.RR {
	zone, _, err := dns.UnpackDomainName(q.Msg, message.HeaderLen+q.Zone)
	if err != nil { // the whole name was read before
		zone = "."
	}
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  text(q.Server), Mbox: text(w.Mail), Serial: w.Serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: w.NegativeTTL,
	}
}

func opt(q Question) dns.RR {
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(message.UDPSize)
	o.SetDo(q.DO)
	if q.Info != message.NoInfo {
		o.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: q.Info}}
	}
	return o
}

// text is a name in the library's notation.
func text(n names.Name) string {
	s, _, err := dns.UnpackDomainName(append([]byte(n), 0), 0)
	if err != nil { // names are at most 254 bytes, so there is none
		return "."
	}
	return s
}
