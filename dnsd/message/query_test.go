package message

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// wire builds a message from parts: a header with the given flags and counts,
// then the rest as it is.
func wire(flags uint16, counts [4]uint16, rest ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x1234)
	b = binary.BigEndian.AppendUint16(b, flags)
	for _, n := range counts {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return append(b, strings.Join(rest, "")...)
}

const (
	webA    = "\x03WeB\x03Net\x00\x00\x01\x00\x01"
	optRR   = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
	aRecord = "\x01x\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"
)

func TestParse(t *testing.T) {
	one, withOPT := [4]uint16{1}, [4]uint16{1, 0, 0, 1}
	label63 := "\x3f" + strings.Repeat("a", 63)
	name254 := strings.Repeat(label63, 3) + "\x3d" + strings.Repeat("b", 61) // + root = 255
	tests := []struct {
		name string
		msg  []byte
		want Verdict
	}{
		{"a question", wire(FlagRD, one, webA), Valid},
		{"the root", wire(0, one, "\x00\x00\x02\x00\x01"), Valid},
		{"all flags but QR", wire(FlagAA|FlagTC|FlagRD|FlagRA|1<<6|FlagAD|FlagCD, one, webA), Valid},
		{"an rcode", wire(5, one, webA), Valid},
		{"nothing", nil, Drop},
		{"half a header", wire(0, one)[:11], Drop},
		{"a response", wire(FlagQR, one, webA), Drop},
		{"a malformed response", wire(FlagQR, one, "\xff"), Drop},
		{"opcode IQUERY", wire(1<<11, one, webA), Unsupported},
		{"opcode UPDATE", wire(5<<11, one, webA), Unsupported},
		{"opcode 15, and nonsense", wire(15<<11, one, "\xff"), Unsupported},
		{"no question", wire(0, [4]uint16{}), Malformed},
		{"two questions", wire(0, [4]uint16{2}, webA, webA), Malformed},
		{"a question too little", wire(0, one), Malformed},
		{"a cut name", wire(0, one, "\x03We"), Malformed},
		{"no type", wire(0, one, "\x03web\x00\x00"), Malformed},
		{"no class", wire(0, one, "\x03web\x00\x00\x01\x00"), Malformed},
		{"a label of 63", wire(0, one, label63, "\x00\x00\x01\x00\x01"), Valid},
		{"a label of 64", wire(0, one, "\x40", strings.Repeat("a", 64), "\x00\x00\x01\x00\x01"), Malformed},
		{"a name of 255", wire(0, one, name254, "\x00\x00\x01\x00\x01"), Valid},
		{"a name of 256", wire(0, one, strings.Repeat(label63, 3), "\x3e", strings.Repeat("b", 62), "\x00\x00\x01\x00\x01"), Malformed},
		{"a pointer into the header", wire(0, one, "\xc0\x00\x00\x01\x00\x01"), Malformed},
		{"a pointer to itself", wire(0, one, "\xc0\x0c\x00\x01\x00\x01"), Malformed},
		{"a pointer forward", wire(0, one, "\xc0\x0e\x00\x01\x00\x01\x00"), Malformed},
		{"a label type of old", wire(0, one, "\x41\x01\x00\x00\x01\x00\x01"), Malformed},
		{"something behind it", wire(0, one, webA, "x"), Malformed},
		{"EDNS", wire(0, withOPT, webA, optRR), Valid},
		{"EDNS counted but not there", wire(0, withOPT, webA), Malformed},
		{"EDNS there but not counted", wire(0, one, webA, optRR), Malformed},
		{"EDNS twice", wire(0, [4]uint16{1, 0, 0, 2}, webA, optRR, optRR), Malformed},
		{"EDNS among the answers", wire(0, [4]uint16{1, 1}, webA, optRR), Malformed},
		{"EDNS with an owner", wire(0, withOPT, webA, "\x01x", optRR), Malformed},
		{"EDNS owned through a pointer to a root", wire(0, withOPT, webA, "\xc0\x14", optRR[1:]), Malformed},
		{"EDNS behind another record", wire(0, [4]uint16{1, 0, 0, 2}, webA, aRecord, optRR), Valid},
		{"an option", wire(0, withOPT, webA, optRR[:9], "\x00\x06\xfd\xe9\x00\x02hi"), Valid},
		{"an option that is cut", wire(0, withOPT, webA, optRR[:9], "\x00\x06\xfd\xe9\x00\x03hi"), Malformed},
		{"half an option", wire(0, withOPT, webA, optRR[:9], "\x00\x03\xfd\xe9\x00"), Malformed},
		{"records of all sections", wire(0, [4]uint16{1, 1, 1, 1}, webA, aRecord, aRecord, aRecord), Valid},
		{"a record with a pointer back", wire(0, [4]uint16{1, 1}, webA, "\xc0\x0c", aRecord[3:]), Valid},
		{"a record with a pointer forward", wire(0, [4]uint16{1, 1}, webA, "\xc0\x30", aRecord[3:]), Malformed},
		{"a record whose pointer loops", wire(0, [4]uint16{1, 1}, webA, "\x01x\xc0\x19", aRecord[3:]), Malformed},
		{"a record whose pointer leads into itself", wire(0, [4]uint16{1, 1}, webA, "\xc0\x16", aRecord[3:]), Malformed},
		{"a record's name of 255", wire(0, [4]uint16{1, 1}, webA, name254, aRecord[2:]), Valid},
		{"a record's name of 257", wire(0, [4]uint16{1, 1}, webA, strings.Repeat(label63, 4), aRecord[2:]), Malformed},
		{"a record's name of 257 by a pointer", wire(0, [4]uint16{1, 2}, webA, strings.Repeat(label63, 2), aRecord[2:], strings.Repeat(label63, 2), "\xc0\x19", aRecord[3:]), Malformed},
		{"data cut off", wire(0, [4]uint16{1, 1}, webA, aRecord[:len(aRecord)-1]), Malformed},
		{"65535 records announced", wire(0, [4]uint16{1, 65535, 65535, 65535}, webA), Malformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var q Query
			if got := q.Parse(test.msg); got != test.want {
				t.Errorf("got verdict %d, want %d", got, test.want)
			}
		})
	}
}

func TestParseFields(t *testing.T) {
	var q Query
	q.Parse(wire(0, [4]uint16{1, 0, 0, 1}, webA, "\x00\x00\x29\x01\xff\x00\x01\x80\x00\x00\x00"))
	if string(q.Name()) != "\x03web\x03net" || q.ID != 0x1234 || q.Type != 1 || q.Class != 1 {
		t.Errorf("question: %q %x %d %d", q.Name(), q.ID, q.Type, q.Class)
	}
	if !q.EDNS || q.Version != 1 || !q.DO || q.Size != 512 || q.Limit() != 512 {
		t.Errorf("EDNS: %+v", q)
	}
	// Nothing of it is left over for the next one.
	q.Parse(wire(0, [4]uint16{1}, "\x01x\x00\x00\x1c\x00\x03"))
	if string(q.Name()) != "\x01x" || q.EDNS || q.DO || q.Version != 0 || q.Size != 512 {
		t.Errorf("second request: %+v", q)
	}
	q.Parse(wire(0, [4]uint16{1, 0, 0, 1}, webA, optRR))
	if q.Size != 4096 || q.Limit() != UDPSize {
		t.Errorf("size %d, limit %d", q.Size, q.Limit())
	}
}

// TestManyPointers: a message made to be walked for long is not.
func TestManyPointers(t *testing.T) {
	data := strings.Repeat("\xc0\x0c", 8000) // each leads to the question
	for i := 2; i < len(data); i += 2 {
		target := 12 + len(webA) + 11 + i - 2
		if target > 0x3fff {
			data = data[:i]
			break
		}
		data = data[:i] + string([]byte{0xc0 | byte(target>>8), byte(target)}) + data[i+2:]
	}
	record := "\x00\x00\xff\x00\x01\x00\x00\x00\x00" + string([]byte{byte(len(data) >> 8), byte(len(data))}) + data
	last := 12 + len(webA) + 11 + len(data) - 2
	more := strings.Repeat(string([]byte{0xc0 | byte(last>>8), byte(last)})+"\x00\xff\x00\x01\x00\x00\x00\x00\x00\x00", 3000)
	msg := wire(0, [4]uint16{1, 3001}, webA, record, more)
	var q Query
	if got := q.Parse(msg); got != Malformed {
		t.Errorf("got verdict %d, want malformed", got)
	}
}

// FuzzParse compares the strict reader with the library: what we take, it
// understands in the same way. (It takes much that we don't.)
func FuzzParse(f *testing.F) {
	f.Add(wire(FlagRD, [4]uint16{1}, webA))
	f.Add(wire(0, [4]uint16{1, 0, 0, 1}, webA, optRR))
	f.Add(wire(0, [4]uint16{1, 1, 1, 2}, webA, aRecord, aRecord, aRecord, optRR))
	f.Add(wire(0, [4]uint16{1, 0, 0, 1}, webA, optRR[:9], "\x00\x06\xfd\xe9\x00\x02hi"))
	f.Add(wire(0, [4]uint16{1, 1}, webA, "\xc0\x0c", aRecord[3:]))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var q Query
		v := q.Parse(msg)
		if v != Valid {
			return
		}
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			// The library also looks into the data of records and options.
			if binary.BigEndian.Uint16(msg[6:])|binary.BigEndian.Uint16(msg[8:])|binary.BigEndian.Uint16(msg[10:]) == 0 {
				t.Fatalf("the library does not understand a message without records: %v", err)
			}
			return
		}
		name, _, err := dns.UnpackDomainName(append(q.Name(), 0), 0)
		if err != nil || len(m.Question) != 1 || name != lowerText(m.Question[0].Name) {
			t.Fatalf("name %q (%v), the library has %v", name, err, m.Question)
		}
		if m.Question[0].Qtype != q.Type || m.Question[0].Qclass != q.Class || m.Id != q.ID {
			t.Fatalf("%+v, the library has %v", q, m)
		}
		o := m.IsEdns0()
		if (o != nil) != q.EDNS {
			t.Fatalf("EDNS %v, the library has %v", q.EDNS, o)
		}
		if o != nil && (o.Version() != q.Version || o.Do() != q.DO || max(o.UDPSize(), 512) != q.Size) {
			t.Fatalf("%+v, the library has %v", q, o)
		}
		// And what goes upstream is the same message.
		sent := AppendForward(nil, &q, msg)
		if len(sent) != len(msg) {
			t.Fatalf("%d bytes become %d", len(msg), len(sent))
		}
		var again Query
		if again.Parse(sent) != Valid || int(again.Size) != q.Limit() && q.EDNS {
			t.Fatalf("forwarded: %+v", again)
		}
	})
}

func lowerText(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// FuzzReply reads what an upstream server might send, and gives it back to a
// client: whatever it is, nothing breaks and the limits hold.
func FuzzReply(f *testing.F) {
	reply := wire(FlagQR|FlagRA, [4]uint16{1, 1, 0, 1}, webA, "\xc0\x0c", aRecord[3:], optRR)
	f.Add(reply, false, uint16(512))
	f.Add(reply, true, uint16(20))
	f.Add(wire(FlagQR|2, [4]uint16{}), false, uint16(512))
	question := []byte(strings.ToLower(webA))
	f.Fuzz(func(t *testing.T, msg []byte, edns bool, limit uint16) {
		_, match := ReadReply(msg, question)
		if match != Matched {
			return
		}
		limit = max(limit, 512)
		had := len(msg)
		out := ReturnReply(msg, question, Asked{EDNS: edns, Limit: int(limit)})
		if len(out) > int(limit) || len(out) > had || len(out) < HeaderLen {
			t.Fatalf("%d bytes of %d, with a limit of %d", len(out), had, limit)
		}
		if binary.BigEndian.Uint16(out[4:]) == 1 && string(out[HeaderLen:HeaderLen+len(question)]) != string(question) {
			t.Fatalf("question %q", out[HeaderLen:])
		}
		if _, match := ReadReply(out, question); match != Matched {
			t.Fatalf("%x can't be read", out)
		}
	})
}
