package store

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory a zstd stream may ask for (its own default for
// decoders is 8 MiB; `zstd --long` uses 128).
const maxWindow = 128 << 20

// decompress reads a layer's blob: a tar archive, alone or in gzip or zstd.
// The first bytes tell; media types are wrong too often.
func decompress(blob io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(blob, 64<<10)
	head, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return nil, fmt.Errorf("compressed with bzip2 or xz, which image layers are not: only gzip and zstd are supported")
	}
	return io.NopCloser(r), nil
}
