package kernel

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// nlaType are the bits of an attribute's type that are not flags (NLA_TYPE_MASK).
const nlaType = 1<<14 - 1

// attributes goes through the attributes of a message: struct rtattr, filled up
// to four bytes, in the machine's byte order. One that is cut off ends it. (The
// library makes a list of them, for each look at a link several.)
func attributes(data []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(kind uint16, value []byte) bool) {
		for len(data) >= unix.SizeofRtAttr {
			length := int(binary.NativeEndian.Uint16(data))
			kind := binary.NativeEndian.Uint16(data[2:]) & nlaType
			if length < unix.SizeofRtAttr || length > len(data) || !yield(kind, data[unix.SizeofRtAttr:length]) {
				return
			}
			data = data[min((length+3)&^3, len(data)):]
		}
	}
}

// attribute gives the value of the first attribute down a path of types, nil
// where there is none.
func attribute(data []byte, path ...uint16) []byte {
next:
	for _, wanted := range path {
		for kind, value := range attributes(data) {
			if kind == wanted {
				data = value
				continue next
			}
		}
		return nil
	}
	return data
}
