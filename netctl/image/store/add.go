package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/image"
)

const (
	// maxMetadata bounds a manifest or configuration in bytes (registries
	// accept manifests up to 4 MiB).
	maxMetadata = 4 << 20
	// maxLayers is what fits into one mount of overlayfs with room to spare;
	// docker takes 127.
	maxLayers = 200
	// parallel layers, as in docker.
	parallel = 3
)

// Add brings an image into the store under the names, which may be none. On an
// error no image has changed; layers that were complete stay for the next
// attempt. report may be nil.
func (s *Store) Add(ctx context.Context, src image.Source, names []image.Reference, report image.Report) (image.Image, error) {
	if report == nil {
		report = func(image.LayerProgress) {}
	}
	release, err := s.lock("pulls", unix.LOCK_SH, lockWait)
	if err != nil {
		return image.Image{}, err
	}
	added, err := s.add(ctx, src, names, report)
	release()
	if err == nil {
		err = s.collectIfAsked()
	}
	return added, err
}

func (s *Store) add(ctx context.Context, src image.Source, names []image.Reference, report image.Report) (image.Image, error) {
	c, err := s.contentOf(ctx, src)
	if err != nil {
		return image.Image{}, err
	}
	size, err := s.addLayers(ctx, src, c, report)
	if err != nil {
		return image.Image{}, err
	}
	if err := s.sync(); err != nil {
		return image.Image{}, err
	}
	return s.commit(c, src, names, size)
}

// content is an image's metadata, verified and consistent.
type content struct {
	manifest       []byte
	manifestDigest v1.Hash
	config         []byte
	parsed         *v1.Manifest
	configuration  *v1.ConfigFile
}

// contentOf reads and checks what is small.
func (s *Store) contentOf(ctx context.Context, src image.Source) (*content, error) {
	if len(src.Manifest) > maxMetadata {
		return nil, fmt.Errorf("manifest: %d bytes, over the limit of %d", len(src.Manifest), maxMetadata)
	}
	c := &content{manifest: src.Manifest, manifestDigest: digestOf(src.Manifest)}
	var err error
	if c.parsed, err = v1.ParseManifest(bytes.NewReader(src.Manifest)); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if t := c.parsed.MediaType; t != "" && !t.IsImage() {
		return nil, fmt.Errorf("manifest: media type %q is not an image's", t)
	}
	if c.config, err = readBlob(ctx, src, c.parsed.Config); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", c.parsed.Config.Digest, err)
	}
	if c.configuration, err = v1.ParseConfigFile(bytes.NewReader(c.config)); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", c.parsed.Config.Digest, err)
	}
	return c, c.check()
}

func (c *content) check() error {
	blobs, diffIDs := c.parsed.Layers, c.configuration.RootFS.DiffIDs
	if len(blobs) != len(diffIDs) {
		return fmt.Errorf("the manifest has %d layers, the configuration %d", len(blobs), len(diffIDs))
	}
	if len(blobs) > maxLayers {
		return fmt.Errorf("%d layers, over the limit of %d", len(blobs), maxLayers)
	}
	for i := range blobs {
		if err := errors.Join(checkDigest(blobs[i].Digest), checkDigest(diffIDs[i])); err != nil {
			return err
		}
		if !blobs[i].MediaType.IsDistributable() {
			return fmt.Errorf("layer %s is not distributable (%s): such images run on Windows only", blobs[i].Digest, blobs[i].MediaType)
		}
	}
	return nil
}

// readBlob reads a small blob and verifies it.
func readBlob(ctx context.Context, src image.Source, d v1.Descriptor) ([]byte, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size > maxMetadata {
		return nil, fmt.Errorf("%d bytes, over the limit of %d", d.Size, maxMetadata)
	}
	r, err := src.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err != nil {
		return nil, err
	}
	if got := digestOf(b); got != d.Digest {
		return nil, fmt.Errorf("the content's digest is %s", got)
	}
	return b, nil
}

func digestOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// addLayers brings the layers in, some at a time, and returns the bytes of all
// their files.
func (s *Store) addLayers(ctx context.Context, src image.Source, c *content, report image.Report) (int64, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, blob := range c.parsed.Layers {
		report(image.LayerProgress{Layer: blob.Digest, State: image.LayerWaiting, Total: blob.Size})
	}
	sizes := make([]int64, len(c.parsed.Layers))
	for i, blob := range c.parsed.Layers {
		in := incoming{store: s, blob: blob, diffID: c.configuration.RootFS.DiffIDs[i], src: src, report: report}
		group.Go(func() (err error) {
			sizes[i], err = in.add(ctx)
			if err != nil {
				err = fmt.Errorf("layer %s: %w", blob.Digest, err)
			}
			return err
		})
	}
	err := group.Wait()
	var sum int64
	for _, n := range sizes {
		sum += n
	}
	return sum, err
}

// sync puts what was unpacked on the disk, once for all layers: after a power
// cut the index must not name what isn't there.
func (s *Store) sync() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("image store: sync: %w", err)
	}
	return nil
}

// commit enters the image into the index. A name that another image had is
// taken from it.
func (s *Store) commit(c *content, src image.Source, names []image.Reference, size int64) (image.Image, error) {
	release, err := s.lock("lock", unix.LOCK_EX, lockWait)
	if err != nil {
		return image.Image{}, err
	}
	defer release()
	err = errors.Join(s.writeFile(s.blobPath(c.manifestDigest), c.manifest),
		s.writeFile(s.blobPath(c.parsed.Config.Digest), c.config))
	if err != nil {
		return image.Image{}, err
	}
	index, err := s.readIndex()
	if err != nil {
		return image.Image{}, err
	}
	platform := image.PlatformOf(c.configuration)
	entry := v1.Descriptor{
		MediaType: c.parsed.MediaType, Size: int64(len(c.manifest)), Digest: c.manifestDigest, Platform: &platform,
		Annotations: map[string]string{
			idAnnotation:     c.parsed.Config.Digest.String(),
			storedAnnotation: time.Now().UTC().Format(time.RFC3339Nano),
			sizeAnnotation:   strconv.FormatInt(size, 10),
		},
	}
	if digests := digestNames(src.Digest, names); digests != "" {
		entry.Annotations[digestsAnnotation] = digests
	}
	enter(index, entry, names)
	if err := s.writeIndex(index); err != nil {
		return image.Image{}, err
	}
	return s.Find(c.parsed.Config.Digest.String())
}

// digestNames are the names by digest under which a pulled image is known.
func digestNames(digest v1.Hash, names []image.Reference) string {
	if digest == (v1.Hash{}) {
		return ""
	}
	var list []string
	for _, ref := range names {
		list = append(list, ref.Repository()+"@"+digest.String())
	}
	return strings.Join(list, " ")
}
