package ledger

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
)

var (
	errDamaged = errors.New("the file is damaged")
	errEmpty   = errors.New("the file is empty")
)

// intact makes sure that the file has all the pages that it says it has, and
// gives its size. bbolt maps the file into memory and would die of a page that
// is not there. An empty file is as good as none.
//
// The first two pages are copies of the meta page: after a header of 16 bytes
// magic(4) version(4) page size(4) flags(4) root(16) freelist(8) number of
// pages(8) transaction(8) checksum(8), in the machine's byte order. The one
// with the higher transaction that passes its checksum counts.
func intact(file *os.File) (size int64, err error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	pageSize := int64(os.Getpagesize())
	var newest, pages uint64
	found := false
	for page := range int64(2) {
		meta := make([]byte, 64)
		if _, err := file.ReadAt(meta, page*pageSize+16); err != nil || !validMeta(meta) {
			continue
		}
		if tx := binary.NativeEndian.Uint64(meta[48:]); !found || tx > newest {
			found, newest, pages = true, tx, binary.NativeEndian.Uint64(meta[40:])
		}
	}
	if !found || info.Size() < int64(pages)*pageSize {
		return info.Size(), errDamaged
	}
	return info.Size(), nil
}

func validMeta(meta []byte) bool {
	const magic = 0xED0CDAED
	sum := fnv.New64a()
	sum.Write(meta[:56])
	return binary.NativeEndian.Uint32(meta) == magic && binary.NativeEndian.Uint64(meta[56:]) == sum.Sum64()
}
