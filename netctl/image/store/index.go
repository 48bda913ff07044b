package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/netctl/netctl/netctl/image"
)

// Annotations of an entry of the index. The name is the OCI's, the others are
// ours.
const (
	nameAnnotation    = "org.opencontainers.image.ref.name"
	idAnnotation      = "io.netctl.id"      // digest of the configuration
	storedAnnotation  = "io.netctl.stored"  // RFC 3339
	digestsAnnotation = "io.netctl.digests" // REPOSITORY@DIGEST, separated by spaces
	sizeAnnotation    = "io.netctl.size"    // unpacked, in bytes
)

// readIndex reads the index; there is none before the first image.
func (s *Store) readIndex() (*v1.IndexManifest, error) {
	index := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	b, err := os.ReadFile(s.path("index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	if err := json.Unmarshal(b, index); err != nil {
		return nil, fmt.Errorf("image store: %s: %w", s.path("index.json"), err)
	}
	return index, nil
}

// writeIndex replaces the index. The caller holds the lock.
func (s *Store) writeIndex(index *v1.IndexManifest) error {
	b, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.path("oci-layout")); err != nil {
		if err := s.writeFile(s.path("oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`+"\n")); err != nil {
			return err
		}
	}
	return s.writeFile(s.path("index.json"), append(b, '\n'))
}

// List returns all images, the last stored first.
func (s *Store) List() ([]image.Image, error) {
	index, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var list []image.Image
	for _, ids := range groups(index) {
		i, err := s.load(ids)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	slices.SortStableFunc(list, func(a, b image.Image) int { return b.Stored.Compare(a.Stored) })
	return list, nil
}

// groups are the entries of the index by image.
func groups(index *v1.IndexManifest) [][]v1.Descriptor {
	var result [][]v1.Descriptor
	for _, d := range index.Manifests {
		i := slices.IndexFunc(result, func(g []v1.Descriptor) bool { return idOf(g[0]) == idOf(d) })
		if i < 0 {
			result = append(result, nil)
			i = len(result) - 1
		}
		result[i] = append(result[i], d)
	}
	return result
}

func idOf(d v1.Descriptor) image.ID { return image.ID(d.Annotations[idAnnotation]) }

// load makes an Image of its entries.
func (s *Store) load(entries []v1.Descriptor) (image.Image, error) {
	i := image.Image{ID: idOf(entries[0]), Manifest: entries[0].Digest}
	for _, d := range entries {
		if text := d.Annotations[nameAnnotation]; text != "" {
			ref, err := image.ParseReference(text)
			if err != nil {
				return i, fmt.Errorf("image store: %w", err)
			}
			i.Names = append(i.Names, ref)
		}
		for digest := range strings.FieldsSeq(d.Annotations[digestsAnnotation]) {
			if !slices.Contains(i.Digests, digest) {
				i.Digests = append(i.Digests, digest)
			}
		}
		if at, err := time.Parse(time.RFC3339Nano, d.Annotations[storedAnnotation]); err == nil && at.After(i.Stored) {
			i.Stored = at
		}
		i.Size, _ = strconv.ParseInt(d.Annotations[sizeAnnotation], 10, 64)
	}
	return i, s.loadBlobs(&i)
}

// loadBlobs reads manifest and configuration, which were verified when they
// came in.
func (s *Store) loadBlobs(i *image.Image) error {
	f, err := s.Blob(i.Manifest)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := v1.ParseManifest(f)
	if err != nil {
		return fmt.Errorf("image %s: manifest: %w", i.ID.Short(), err)
	}
	i.Blobs = m.Layers
	c, err := s.Blob(m.Config.Digest)
	if err != nil {
		return err
	}
	defer c.Close()
	config, err := v1.ParseConfigFile(c)
	if err != nil {
		return fmt.Errorf("image %s: configuration: %w", i.ID.Short(), err)
	}
	i.Config = *config
	return nil
}

// A NotFoundError is a reference to no image of the store.
type NotFoundError struct{ Ref string }

func (e *NotFoundError) Error() string { return "no such image: " + e.Ref }

// Find returns the image with that name, ID, or beginning of an ID, in this
// order.
func (s *Store) Find(ref string) (image.Image, error) {
	index, err := s.readIndex()
	if err != nil {
		return image.Image{}, err
	}
	all := groups(index)
	chosen := slices.IndexFunc(all, func(g []v1.Descriptor) bool { return named(g, ref) })
	if chosen < 0 {
		if chosen, err = byID(all, ref); err != nil {
			return image.Image{}, err
		}
	}
	if chosen < 0 {
		return image.Image{}, &NotFoundError{Ref: ref}
	}
	return s.load(all[chosen])
}

// named tells whether ref is a name of the image, or the digest it was pulled
// by.
func named(entries []v1.Descriptor, text string) bool {
	ref, err := image.ParseReference(text)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(d v1.Descriptor) bool {
		return d.Annotations[nameAnnotation] == ref.String() ||
			ref.Digest() != "" && slices.Contains(strings.Fields(d.Annotations[digestsAnnotation]), ref.String())
	})
}

// byID returns the index of the only image whose ID begins so, or -1.
func byID(all [][]v1.Descriptor, prefix string) (int, error) {
	prefix = strings.TrimPrefix(prefix, "sha256:")
	if prefix == "" || strings.Trim(prefix, "0123456789abcdef") != "" {
		return -1, nil
	}
	found := -1
	for i, g := range all {
		if !strings.HasPrefix(idOf(g[0]).Hex(), prefix) {
			continue
		}
		if found >= 0 {
			return -1, fmt.Errorf("image ID %s is ambiguous: %s, %s", prefix, idOf(all[found][0]).Short(), idOf(g[0]).Short())
		}
		found = i
	}
	return found, nil
}
