package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/layer"
)

// incoming is one layer on its way into the store.
type incoming struct {
	store  *Store
	blob   v1.Descriptor
	diffID v1.Hash
	src    image.Source
	report image.Report
}

// layerWait bounds the wait for another process that is bringing in the same
// layer.
const layerWait = 6 * time.Hour

// add makes sure that the layer is in the store, as a blob and unpacked, and
// returns the bytes of its files. Of several processes one does the work.
func (in *incoming) add(ctx context.Context) (int64, error) {
	lock, err := flock.Open(in.store.path("locks", in.diffID.Hex), unix.LOCK_EX, layerWait)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	size, unpacked := in.store.layerSize(in.diffID)
	_, statErr := os.Stat(in.store.blobPath(in.blob.Digest))
	if unpacked && statErr == nil {
		in.tell(image.LayerExists, in.blob.Size)
		return size, nil
	}
	tmp := in.store.path("tmp", in.diffID.Hex)
	if err := os.RemoveAll(tmp); err != nil { // a killed process's
		return 0, err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(filepath.Join(tmp, "layer", "fs"), 0o755); err != nil {
		return 0, err
	}
	if size, err = in.fetch(ctx, tmp); err != nil {
		return 0, err
	}
	in.tell(image.LayerDone, in.blob.Size)
	return size, in.settle(tmp, size, unpacked, statErr == nil)
}

func (in *incoming) tell(state image.LayerState, done int64) {
	in.report(image.LayerProgress{Layer: in.blob.Digest, State: state, Done: done, Total: in.blob.Size})
}

// layerSize is the size of an unpacked layer, and whether there is one.
func (s *Store) layerSize(diffID v1.Hash) (int64, bool) {
	b, err := os.ReadFile(filepath.Join(s.layerPath(diffID), "size"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// fetch reads the blob once: into a file, through both digests, and into the
// layer's directory.
func (in *incoming) fetch(ctx context.Context, tmp string) (size int64, err error) {
	r, err := in.src.Open(ctx, in.blob)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := os.OpenFile(filepath.Join(tmp, "blob"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	blob := &blobReader{r: &contextReader{ctx, r}, size: in.blob.Size, digest: sha256.New(), copy: f, tell: func(n int64) { in.tell(image.LayerLoading, n) }}
	size, err = in.unpack(blob, filepath.Join(tmp, "layer", "fs"))
	if blob.err != nil { // the cause of whatever else went wrong
		return 0, blob.err
	}
	if err != nil {
		return 0, err
	}
	return size, blob.verify(in.blob.Digest)
}

// unpack takes the layer apart and compares its digest.
func (in *incoming) unpack(blob io.Reader, dir string) (int64, error) {
	stream, err := decompress(blob)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	limits, ratio := in.limits()
	sum := sha256.New()
	size, err := layer.Unpack(dir, io.TeeReader(stream, sum), limits)
	if ratio && errors.Is(err, layer.ErrLimit) {
		return 0, fmt.Errorf("it would unpack to more than %d times its size: %w", in.store.Ratio, err)
	}
	if err != nil {
		return 0, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != in.diffID.Hex {
		return 0, fmt.Errorf("unpacked, its digest is sha256:%s, and the configuration says %s", got, in.diffID)
	}
	// What follows the compressed stream belongs to the blob, too.
	_, err = io.Copy(io.Discard, blob)
	return size, err
}

// limits are the store's, or those by the ratio if they are lower.
func (in *incoming) limits() (limits layer.Limits, byRatio bool) {
	limits = in.store.Limits
	bound := max(in.store.RatioFloor, in.blob.Size*in.store.Ratio)
	if bound < limits.Bytes {
		limits.Bytes, byRatio = bound, true
	}
	return limits, byRatio
}

// settle gives what was made its final name: the layer first, because a blob
// without its layer would be taken for complete by nobody.
func (in *incoming) settle(tmp string, size int64, haveLayer, haveBlob bool) error {
	made := filepath.Join(tmp, "layer")
	if !haveLayer {
		if err := os.WriteFile(filepath.Join(made, "size"), []byte(strconv.FormatInt(size, 10)+"\n"), 0o600); err != nil {
			return err
		}
		if err := os.Chmod(made, 0o711); err != nil {
			return err
		}
		if err := os.Rename(made, in.store.layerPath(in.diffID)); err != nil {
			return err
		}
	}
	if haveBlob {
		return nil
	}
	return os.Rename(filepath.Join(tmp, "blob"), in.store.blobPath(in.blob.Digest))
}

// blobReader reads a blob of a known size, keeps a copy and computes its
// digest.
type blobReader struct {
	r      io.Reader
	size   int64
	digest hash.Hash
	copy   io.Writer
	done   int64
	tell   func(int64)
	err    error // why the source failed, or the copy
}

func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.done += int64(n)
	switch {
	case b.done > b.size:
		b.err = fmt.Errorf("it is larger than the %d bytes the manifest says", b.size)
		return 0, b.err
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	case err != nil && b.done < b.size:
		b.err = fmt.Errorf("it is cut short: %d of %d bytes", b.done, b.size)
		err = b.err
	}
	b.digest.Write(p[:n])
	if _, failed := b.copy.Write(p[:n]); failed != nil {
		b.err = failed
		return 0, failed
	}
	b.tell(b.done)
	return n, err
}

// verify compares the digest when everything has been read.
func (b *blobReader) verify(want v1.Hash) error {
	if got := hex.EncodeToString(b.digest.Sum(nil)); got != want.Hex {
		return fmt.Errorf("the content's digest is sha256:%s", got)
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
