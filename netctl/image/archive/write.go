package archive

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/netctl/netctl/netctl/image"
)

// Saved is an image to write, under those of its names that were asked for.
type Saved struct {
	Image image.Image
	Names []image.Reference
}

// Write writes an archive that is an OCI layout and a docker archive at once,
// as docker itself does since version 25. The same images give the same bytes.
func Write(w io.Writer, images []Saved, blob func(v1.Hash) (*os.File, error)) error {
	out := writer{tar: tar.NewWriter(w), blob: blob, done: map[v1.Hash]bool{}}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var docker []dockerImage
	for _, s := range images {
		m, size, err := out.image(s)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.Image.ID.Short(), err)
		}
		index.Manifests = append(index.Manifests, entries(s, m, size)...)
		docker = append(docker, dockerOf(s, m))
	}
	for _, f := range []struct {
		name  string
		value any
	}{{"index.json", index}, {"manifest.json", docker}, {"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}}} {
		text, err := json.Marshal(f.value)
		if err == nil {
			err = out.file(f.name, text)
		}
		if err != nil {
			return err
		}
	}
	return out.tar.Close()
}

// entries are an image's lines in the index, one for each name.
func entries(s Saved, m *v1.Manifest, size int64) []v1.Descriptor {
	platform := s.Image.Platform()
	d := v1.Descriptor{MediaType: m.MediaType, Digest: s.Image.Manifest, Size: size, Platform: &platform}
	if d.MediaType == "" {
		d.MediaType = types.OCIManifestSchema1
	}
	if len(s.Names) == 0 {
		return []v1.Descriptor{d}
	}
	var list []v1.Descriptor
	for _, ref := range s.Names {
		d.Annotations = map[string]string{
			"io.containerd.image.name":          ref.String(),
			"org.opencontainers.image.ref.name": ref.Tag(),
		}
		list = append(list, d)
	}
	return list
}

func dockerOf(s Saved, m *v1.Manifest) dockerImage {
	d := dockerImage{Config: blobName(m.Config.Digest), Layers: []string{}}
	for _, ref := range s.Names {
		d.RepoTags = append(d.RepoTags, ref.Familiar())
	}
	for _, l := range m.Layers {
		d.Layers = append(d.Layers, blobName(l.Digest))
	}
	return d
}

type writer struct {
	tar  *tar.Writer
	blob func(v1.Hash) (*os.File, error)
	done map[v1.Hash]bool
}

// image writes an image's blobs, those that aren't there yet.
func (w *writer) image(s Saved) (*v1.Manifest, int64, error) {
	size, err := w.copyBlob(s.Image.Manifest)
	if err != nil {
		return nil, 0, err
	}
	f, err := w.blob(s.Image.Manifest)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	m, err := v1.ParseManifest(f)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if _, err := w.copyBlob(d.Digest); err != nil {
			return nil, 0, err
		}
	}
	return m, size, nil
}

func (w *writer) copyBlob(d v1.Hash) (int64, error) {
	f, err := w.blob(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if w.done[d] {
		return st.Size(), nil
	}
	w.done[d] = true
	if err := w.header(blobName(d), st.Size()); err != nil {
		return 0, err
	}
	return io.Copy(w.tar, f)
}

func (w *writer) file(name string, text []byte) error {
	if err := w.header(name, int64(len(text))); err != nil {
		return err
	}
	_, err := w.tar.Write(text)
	return err
}

func (w *writer) header(name string, size int64) error {
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
}
