package dnsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A point is one demand of an RFC: what is sent, and what is wrong with the
// reply. Section numbers are of the RFC named.
type point struct {
	rfc  string
	name string
	send []byte
	// check gets the reply, nil for none, and its parsed form if it parses.
	check func(raw []byte, m *dns.Msg) error
	// udpOnly and tcpOnly are points that make no sense over the other.
	udpOnly, tcpOnly bool
	// silent points want no reply at all.
	silent bool
}

// raw makes a message of a header with flags and counts, and the rest as is.
func raw(flags uint16, counts [4]uint16, rest ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0xbeef)
	b = binary.BigEndian.AppendUint16(b, flags)
	for _, n := range counts {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return append(b, strings.Join(rest, "")...)
}

// ask1 packs a question, changed as the functions say.
func ask1(name string, kind uint16, change ...func(*dns.Msg)) []byte {
	m := query(name, kind)
	m.Id = 0xbeef
	for _, f := range change {
		f(m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

func do(m *dns.Msg) { m.IsEdns0().SetDo() }

// Checks.

type check = func(raw []byte, m *dns.Msg) error

func all(checks ...check) check {
	return func(raw []byte, m *dns.Msg) error {
		for _, c := range checks {
			if err := c(raw, m); err != nil {
				return err
			}
		}
		return nil
	}
}

func nothing(raw []byte, _ *dns.Msg) error {
	if raw != nil {
		return fmt.Errorf("there is a reply: %x", raw)
	}
	return nil
}

// that makes a check of a condition on the parsed reply.
func that(what string, ok func(m *dns.Msg) bool) check {
	return func(raw []byte, m *dns.Msg) error {
		switch {
		case raw == nil:
			return errors.New("no reply")
		case m == nil:
			return fmt.Errorf("the reply can't be read: %x", raw)
		case !ok(m):
			return fmt.Errorf("not so: %s\n%v", what, m)
		}
		return nil
	}
}

func code(rcode int) check {
	name := dns.RcodeToString[rcode]
	if rcode == dns.RcodeBadVers { // the same number as TSIG's BADSIG
		name = "BADVERS"
	}
	return that("rcode "+name, func(m *dns.Msg) bool { return m.Rcode == rcode && m.Id == 0xbeef && m.Response })
}

func answered(want ...string) check {
	return all(code(dns.RcodeSuccess), that("answers "+strings.Join(want, ", "), func(m *dns.Msg) bool {
		var got []string
		for _, rr := range m.Answer {
			got = append(got, strings.Join(strings.Fields(rr.String())[3:], " "))
		}
		slices.Sort(got)
		slices.Sort(want)
		return slices.Equal(got, want)
	}))
}

// soaOf: the authority section has the zone's SOA, with a TTL no longer than
// its minimum.
func soaOf(zone string) check {
	return that("SOA of "+zone+" with a proper TTL", func(m *dns.Msg) bool {
		if len(m.Ns) != 1 || len(m.Answer) != 0 {
			return false
		}
		soa, ok := m.Ns[0].(*dns.SOA)
		return ok && soa.Hdr.Name == zone && soa.Hdr.Ttl <= soa.Minttl
	})
}

func noData(zone string) check { return all(code(dns.RcodeSuccess), soaOf(zone)) }
func noName(zone string) check { return all(code(dns.RcodeNameError), soaOf(zone)) }

func hasOPT(want bool) check {
	return that(fmt.Sprintf("OPT record: %v", want), func(m *dns.Msg) bool {
		o := m.IsEdns0()
		return (o != nil) == want && (o == nil || o.Version() == 0)
	})
}

const (
	webQ  = "\x03web\x00\x00\x01\x00\x01"
	optRR = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
)

// rfcPoints are the demands on a local answer and on reading requests.
func rfcPoints() []point {
	one, withOPT := [4]uint16{1}, [4]uint16{1, 0, 0, 1}
	label63 := "\x3f" + strings.Repeat("a", 63)
	formErr := code(dns.RcodeFormatError)
	points := []point{
		{rfc: "4343 3", name: "case is ignored, and echoed byte for byte", send: ask1("wEb", dns.TypeA),
			check: all(answered("A 10.88.0.2"), that("spelling", func(m *dns.Msg) bool {
				return m.Question[0].Name == "wEb." && m.Answer[0].Header().Name == "wEb."
			}))},
		{rfc: "1035 2.3.4", name: "label of 64 is malformed", send: raw(0, one, "\x40", strings.Repeat("a", 64), "\x00\x00\x01\x00\x01"), check: formErr},
		{rfc: "1035 2.3.4", name: "name of 256 is malformed", send: raw(0, one, strings.Repeat(label63, 3), "\x3e", strings.Repeat("b", 62), "\x00\x00\x01\x00\x01"), check: formErr},
		{rfc: "1035 4.1.1", name: "a response is dropped", send: raw(1<<15, one, webQ), silent: true, check: nothing},
		{rfc: "1035 4.1.1", name: "the reserved bit is ignored and not sent", send: raw(1<<8|1<<6, one, webQ),
			check: all(answered("A 10.88.0.2"), that("Z is 0", func(m *dns.Msg) bool { return !m.Zero }))},
		{rfc: "1035 4.1.1", name: "RD is copied, RA set", send: raw(1<<8, one, webQ),
			check: that("RD RA AA", func(m *dns.Msg) bool { return m.RecursionDesired && m.RecursionAvailable && m.Authoritative })},
		{rfc: "1035 4.1.1", name: "no RD is copied", send: raw(0, one, webQ),
			check: all(answered("A 10.88.0.2"), that("no RD", func(m *dns.Msg) bool { return !m.RecursionDesired }))},
		{rfc: "9619", name: "no question is malformed", send: raw(0, [4]uint16{}), check: formErr},
		{rfc: "9619", name: "two questions are malformed", send: raw(0, [4]uint16{2}, webQ, webQ), check: formErr},
		{rfc: "1035 4.1.4", name: "a pointer to itself", send: raw(0, one, "\xc0\x0c\x00\x01\x00\x01"), check: formErr},
		{rfc: "1035 4.1.4", name: "a pointer forward", send: raw(0, one, "\xc0\x12\x00\x01\x00\x01\x00"), check: formErr},
		{rfc: "1035 4.1.4", name: "a pointer into the header", send: raw(0, one, "\xc0\x04\x00\x01\x00\x01"), check: formErr},
		{rfc: "1035 4.2.1", name: "512 bytes at most without EDNS, with TC", send: ask1("many", dns.TypeA), udpOnly: true,
			check: func(raw []byte, m *dns.Msg) error {
				return all(code(0), that(fmt.Sprintf("TC, full, %d bytes", len(raw)), func(m *dns.Msg) bool {
					return m.Truncated && len(raw) <= 512 && len(raw) > 512-16
				}))(raw, m)
			}},
		{rfc: "9715 3", name: "1232 bytes at most with EDNS", send: ask1("many", dns.TypeA, edns(4096)), udpOnly: true,
			check: func(raw []byte, m *dns.Msg) error {
				return all(code(0), that(fmt.Sprintf("whole, %d bytes", len(raw)), func(m *dns.Msg) bool {
					return len(raw) <= 1232 && len(m.Answer) == manyOwners && !m.Truncated && m.IsEdns0().UDPSize() == 1232
				}))(raw, m)
			}},
		{rfc: "7766 5", name: "everything over TCP", send: ask1("many", dns.TypeA), tcpOnly: true,
			check: that("all owners, no TC", func(m *dns.Msg) bool { return len(m.Answer) == manyOwners && !m.Truncated })},
		{rfc: "2181 5.2", name: "one TTL in a set", send: ask1("many", dns.TypeA, edns(1232)),
			check: that("equal TTLs", func(m *dns.Msg) bool {
				return !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Ttl != m.Answer[0].Header().Ttl })
			})},
		{rfc: "2308 3", name: "NXDOMAIN with SOA", send: ask1("nobody.netctl.internal", dns.TypeA), check: noName("netctl.internal.")},
		{rfc: "2308 3", name: "NODATA with SOA", send: ask1("web.netctl.internal", dns.TypeMX), check: noData("netctl.internal.")},
		{rfc: "4074 4", name: "AAAA of an IPv4 name is NODATA", send: ask1("four", dns.TypeAAAA), check: noData("four.")},
		{rfc: "3596", name: "AAAA", send: ask1("web", dns.TypeAAAA), check: answered("AAAA fd00:88::2")},
		{rfc: "3597 3", name: "unknown type of an owned name is NODATA", send: ask1("web.netctl.internal", 65280), check: noData("netctl.internal.")},
		{rfc: "8020 2", name: "a name above others is NODATA", send: ask1("b.netctl.internal", dns.TypeA), check: noData("netctl.internal.")},
		{rfc: "8020 2", name: "an existing name is never NXDOMAIN", send: ask1("web.front.netctl.internal", dns.TypeTXT), check: noData("front.netctl.internal.")},
		{rfc: "6840 5.8", name: "no AD in our own answers", send: ask1("web", dns.TypeA, func(m *dns.Msg) { m.AuthenticatedData = true }),
			check: all(answered("A 10.88.0.2"), that("no AD", func(m *dns.Msg) bool { return !m.AuthenticatedData }))},
		{rfc: "4035 3.2.2", name: "CD is copied", send: ask1("web", dns.TypeA, func(m *dns.Msg) { m.CheckingDisabled = true }),
			check: that("CD", func(m *dns.Msg) bool { return m.CheckingDisabled })},
		{rfc: "4035 3.2.1", name: "DO adds no records, and is copied", send: ask1("web", dns.TypeA, edns(1232), do),
			check: all(answered("A 10.88.0.2"), that("DO", func(m *dns.Msg) bool { return m.IsEdns0() != nil && m.IsEdns0().Do() && len(m.Ns) == 0 }))},
		{rfc: "6761 6.3", name: "localhost", send: ask1("localhost", dns.TypeA), check: answered("A 127.0.0.1")},
		{rfc: "6761 6.3", name: "below localhost", send: ask1("a.localhost", dns.TypeAAAA), check: answered("AAAA ::1")},
		{rfc: "6761 6.4", name: "invalid", send: ask1("a.invalid", dns.TypeA), check: noName("invalid.")},
		{rfc: "7686 2", name: "onion", send: ask1("a.onion", dns.TypeA), check: noName("onion.")},
		{rfc: "9476 2", name: "alt", send: ask1("a.alt", dns.TypeA), check: noName("alt.")},
		{rfc: "6762 22.1", name: "local", send: ask1("printer.local", dns.TypeA), check: noName("local.")},
		{rfc: "6303 3", name: "PTR in our subnet, nobody there", send: ask1("77.0.88.10.in-addr.arpa", dns.TypePTR), check: noName("0.88.10.in-addr.arpa.")},
		{rfc: "1035 3.5", name: "PTR", send: ask1("2.0.88.10.in-addr.arpa", dns.TypePTR), check: answered("PTR web.front.netctl.internal.")},
		{rfc: "6891 6.1.1", name: "no OPT, no OPT", send: ask1("web", dns.TypeA), check: all(answered("A 10.88.0.2"), hasOPT(false))},
		{rfc: "6891 6.1.1", name: "OPT, OPT", send: ask1("web", dns.TypeA, edns(1232)), check: all(answered("A 10.88.0.2"), hasOPT(true))},
		{rfc: "6891 6.1.1", name: "OPT in an error, too", send: ask1("nobody.netctl.internal", dns.TypeA, edns(1232)), check: all(code(3), hasOPT(true))},
		{rfc: "6891 6.1.3", name: "version 1 is BADVERS", send: raw(0, withOPT, webQ, "\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00"), check: all(code(dns.RcodeBadVers), hasOPT(true))},
		{rfc: "6891 6.2.3", name: "a size below 512 is 512", send: ask1("many", dns.TypeA, edns(100)), udpOnly: true,
			check: func(raw []byte, m *dns.Msg) error {
				return that(fmt.Sprintf("near 512, %d bytes", len(raw)), func(m *dns.Msg) bool { return len(raw) > 480 && len(raw) <= 512 })(raw, m)
			}},
		{rfc: "6891 6.1.1", name: "two OPTs are malformed", send: raw(0, [4]uint16{1, 0, 0, 2}, webQ, optRR, optRR), check: formErr},
		{rfc: "6891 6.1.2", name: "unknown options are ignored", send: ask1("web", dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})),
			check: all(answered("A 10.88.0.2"), that("no options", func(m *dns.Msg) bool { return len(m.IsEdns0().Option) == 0 }))},
		{rfc: "7873 5.2.3", name: "cookies are ignored harmlessly", send: ask1("web", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})), check: answered("A 10.88.0.2")},
		{rfc: "7828 3.2", name: "keepalive is ignored harmlessly", send: ask1("web", dns.TypeA, edns(1232, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})), check: answered("A 10.88.0.2")},
		{rfc: "8482 4.1", name: "ANY gets one set", send: ask1("web", dns.TypeANY), check: answered("A 10.88.0.2")},
		{rfc: "9460", name: "HTTPS of an owned name is NODATA", send: ask1("web.netctl.internal", dns.TypeHTTPS), check: noData("netctl.internal.")},
		{rfc: "9460", name: "SVCB of an owned name is NODATA", send: ask1("web.netctl.internal", dns.TypeSVCB), check: noData("netctl.internal.")},
		{rfc: "1034 4.3.2", name: "SOA of the base domain", send: ask1("netctl.internal", dns.TypeSOA),
			check: that("one SOA", func(m *dns.Msg) bool {
				return len(m.Answer) == 1 && m.Answer[0].Header().Rrtype == dns.TypeSOA && m.Authoritative
			})},
		{rfc: "8914 4.19", name: "a refusal has a reason", send: ask1("version.bind", dns.TypeTXT, edns(1232), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			check: all(code(dns.RcodeRefused), that("extended error", func(m *dns.Msg) bool { return len(m.IsEdns0().Option) == 1 }))},
		{rfc: "5936 2.2.1", name: "no transfers", send: ask1("netctl.internal", dns.TypeAXFR), check: code(dns.RcodeRefused)},
	}
	for _, opcode := range []uint16{1, 2, 3, 4, 5, 6, 15} {
		points = append(points, point{rfc: "8906 3.1.4", name: fmt.Sprint("opcode ", opcode, " is not implemented"), send: raw(opcode<<11, one, webQ),
			check: all(code(dns.RcodeNotImplemented), that("opcode", func(m *dns.Msg) bool { return m.Opcode == int(opcode) }))})
	}
	for _, class := range []uint16{dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassANY, 65280} {
		points = append(points, point{rfc: "6895 3.2", name: fmt.Sprint("class ", class, " is refused"),
			send: ask1("web", dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = class }), check: code(dns.RcodeRefused)})
	}
	for i := range 32 { // 8906 section 8: EDNS, its version, an option, a flag, and AD in any combination
		points = append(points, combination(i))
	}
	return points
}

const combinationName = "EDNS with: "

// combination is one of the requests of RFC 8906 section 8, of which none may
// go without an answer.
func combination(bits int) point {
	flags, version, ednsFlags, options := uint16(0), byte(0), byte(0), ""
	want := dns.RcodeSuccess
	var parts []string
	on := func(bit int, what string, set func()) {
		if bits&(1<<bit) != 0 {
			parts = append(parts, what)
			set()
		}
	}
	on(0, "AD", func() { flags |= 1 << 5 })
	on(1, "Z", func() { flags |= 1 << 6 })
	on(2, "an EDNS flag", func() { ednsFlags = 0x40 })
	on(3, "an option", func() { options = "\x00\x64\x00\x00" })
	on(4, "version 100", func() { version, want = 100, dns.RcodeBadVers })
	opt := "\x00\x00\x29\x04\xd0\x00" + string([]byte{version, ednsFlags, 0, 0, byte(len(options))}) + options
	return point{rfc: "8906 8.2", name: combinationName + strings.Join(parts, ", "), send: raw(flags, [4]uint16{1, 0, 0, 1}, webQ, opt),
		check: all(code(want), hasOPT(true), that("no flags of theirs", func(m *dns.Msg) bool { return m.IsEdns0().Z() == 0 && !m.Zero }))}
}

// forwardPoints are the demands on what goes through.
func forwardPoints() []point {
	return []point{
		{rfc: "5625 4.1", name: "an ordinary question", send: ask1("www.example", dns.TypeA), check: answered("A 192.0.2.1")},
		{rfc: "5625 4.3", name: "unknown type", send: ask1("www.example", 65280), check: answered(`TYPE65280 \# 3 01ff00`)},
		{rfc: "5625 4.4", name: "EDNS options", send: ask1("www.example", dns.TypeA, edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})),
			check: all(answered("A 192.0.2.1"), that("the option came back", func(m *dns.Msg) bool { return len(m.IsEdns0().Option) == 1 }))},
		{rfc: "5625 4.4.1", name: "TC over UDP", send: ask1("large.example", dns.TypeTXT), udpOnly: true,
			check: that("TC", func(m *dns.Msg) bool { return m.Truncated && len(m.Answer) == 0 })},
		{rfc: "7766 5", name: "then all over TCP", send: ask1("large.example", dns.TypeTXT), tcpOnly: true,
			check: that("250 answers", func(m *dns.Msg) bool { return len(m.Answer) == 250 })},
		{rfc: "2308 5", name: "NXDOMAIN as it is", send: ask1("missing.example", dns.TypeA), check: all(code(dns.RcodeNameError), that("SOA", func(m *dns.Msg) bool { return len(m.Ns) == 1 }))},
		{rfc: "1035 4.1.1", name: "SERVFAIL as it is", send: ask1("broken.example", dns.TypeA), check: code(dns.RcodeServerFailure)},
		{rfc: "4343 3", name: "spelling", send: ask1("WwW.ExAmPlE", dns.TypeA), check: that("spelling", func(m *dns.Msg) bool { return m.Question[0].Name == "WwW.ExAmPlE." })},
	}
}

// try sends a point's message and checks the reply.
func (p point) try(way path, wait time.Duration) error {
	conn, err := way.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := send(conn, p.send); err != nil {
		return err
	}
	if p.silent {
		wait = silence
	}
	reply, err := receive(conn, wait)
	if err != nil {
		return err
	}
	m := new(dns.Msg)
	if reply == nil || m.Unpack(reply) != nil {
		m = nil
	}
	return p.check(reply, m)
}

func (p point) fits(way path) bool {
	return !(p.udpOnly && way.transport == "tcp" || p.tcpOnly && way.transport == "udp")
}

// TestRFC tries every point over UDP and TCP, IPv4 and IPv6.
func TestRFC(t *testing.T) {
	w, web, upstream := rfcWorld(t)
	w.serve()
	for _, way := range ways(web) {
		t.Run(way.String(), func(t *testing.T) {
			for _, p := range rfcPoints() {
				if p.fits(way) {
					t.Run(p.rfc+" "+p.name, func(t *testing.T) {
						if err := p.try(way, patience); err != nil {
							t.Error(err)
						}
					})
				}
			}
			if seen := upstream.names(); len(seen) > 0 {
				t.Errorf("the upstream server was asked for %v", seen)
			}
		})
	}
	for _, way := range ways(web) {
		for _, p := range forwardPoints() {
			if p.fits(way) {
				t.Run("forward "+way.String()+" "+p.rfc+" "+p.name, func(t *testing.T) {
					if err := p.try(way, patience); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// ways are both transports to both gateways.
func ways(c *container) []path {
	var list []path
	for _, transport := range []string{"udp", "tcp"} {
		for _, server := range []string{"10.88.0.1", "fd00:88::1"} {
			list = append(list, path{from: c.Namespace, transport: transport, server: server})
		}
	}
	return list
}
