package message

import "encoding/binary"

// record is where a resource record's parts are in a message.
type record struct {
	kind uint16
	data int // where its data begins
	end  int
}

// readRecord reads the record at off.
func readRecord(msg []byte, off int) (record, bool) {
	off, ok := skipName(msg, off)
	if !ok || off+10 > len(msg) {
		return record{}, false
	}
	r := record{kind: binary.BigEndian.Uint16(msg[off:]), data: off + 10}
	r.end = r.data + int(binary.BigEndian.Uint16(msg[off+8:]))
	return r, r.end <= len(msg)
}

const maxJumps = 127

// skipName is the offset after the name at off. A compression pointer must
// lead back, behind the header, to where a name was before (RFC 1035 section
// 4.1.4): each jump lands before the last one, and what is there ends before
// it, so there are no loops and no name depends on what follows it. More
// jumps than a name can have labels only serve to make us walk.
func skipName(msg []byte, off int) (after int, ok bool) {
	length, jumps, start, limit := 0, 0, off, len(msg)
	for off < limit {
		c := int(msg[off])
		switch c & 0xc0 {
		case 0x00:
			off += 1 + c
			length += 1 + c
			if length > maxNameLen || off > limit {
				return 0, false
			}
			if jumps == 0 {
				after = off
			}
			if c == 0 {
				return after, true
			}
		case 0xc0:
			if off+2 > limit {
				return 0, false
			}
			target := int(binary.BigEndian.Uint16(msg[off:])) & 0x3fff
			if target >= start || target < HeaderLen || jumps == maxJumps {
				return 0, false
			}
			if jumps == 0 {
				after = off + 2
			}
			jumps++
			off, start, limit = target, target, start
		default: // 0x40 and 0x80 were never put to use (RFC 6891 section 5)
			return 0, false
		}
	}
	return 0, false
}
