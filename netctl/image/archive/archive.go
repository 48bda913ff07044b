// Package archive reads images from what docker, podman and skopeo save (docker
// archives, OCI archives, OCI layout directories), and writes an archive that all
// of them can load.
//
// An archive is as hostile as a registry: nothing of it is written to a path
// that it chooses (its files are read in place), links in it lead to its own
// files and not in circles, and every content is verified by the store.
package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image"
)

// Named is an image of an archive with the names it has there.
type Named struct {
	Names  []image.Reference
	Source image.Source
}

// Archive is an open archive or directory.
type Archive struct {
	files files
	close func() error
}

// files are what an archive consists of. An unknown name is fs.ErrNotExist.
type files interface {
	open(name string) (r io.ReadCloser, size int64, err error)
}

// Close gives it back; its images' Sources can't be read any more.
func (a *Archive) Close() error { return a.close() }

// maxMetadata bounds what is read into memory, in bytes.
const maxMetadata = 8 << 20

// Images lists the archive's images for a platform.
func (a *Archive) Images(want v1.Platform) ([]Named, error) {
	docker, err := a.dockerImages()
	if err != nil {
		return nil, err
	}
	index, err := a.read("index.json")
	if errors.Is(err, fs.ErrNotExist) {
		if docker == nil {
			return nil, errors.New("it is no image archive: it has neither manifest.json nor index.json")
		}
		return a.fromDocker(docker)
	}
	if err != nil {
		return nil, err
	}
	return a.fromIndex(index, docker, want)
}

// read returns a small file.
func (a *Archive) read(name string) ([]byte, error) {
	r, size, err := a.files.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxMetadata {
		return nil, fmt.Errorf("%s: %d bytes, over the limit of %d", name, size, maxMetadata)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxMetadata))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func blobName(d v1.Hash) string { return "blobs/" + d.Algorithm + "/" + d.Hex }

// fromIndex are the images of an OCI layout. Names in docker's manifest.json
// count as well.
func (a *Archive) fromIndex(text []byte, docker []dockerImage, want v1.Platform) ([]Named, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var list []Named
	for _, d := range index.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" { // an attestation
			continue
		}
		named, err := a.fromDescriptor(d, want)
		if err != nil {
			return nil, fmt.Errorf("index.json: %s: %w", d.Digest, err)
		}
		names, err := namesOf(d, docker, named.Source.Manifest)
		if err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		i := slices.IndexFunc(list, func(n Named) bool { return bytes.Equal(n.Source.Manifest, named.Source.Manifest) })
		if i < 0 {
			list = append(list, named)
			i = len(list) - 1
		}
		list[i].Names = merge(list[i].Names, names)
	}
	if len(list) == 0 {
		return nil, errors.New("it holds no image")
	}
	return list, nil
}

// fromDescriptor follows an entry of an index to an image.
func (a *Archive) fromDescriptor(d v1.Descriptor, want v1.Platform) (Named, error) {
	top := d.Digest
	text, err := a.read(blobName(d.Digest))
	if err != nil {
		return Named{}, err
	}
	if d.MediaType.IsIndex() {
		inner, err := v1.ParseIndexManifest(bytes.NewReader(text))
		if err != nil {
			return Named{}, err
		}
		if d, err = image.Choose(inner, want); err != nil {
			return Named{}, err
		}
		if text, err = a.read(blobName(d.Digest)); err != nil {
			return Named{}, err
		}
	}
	return Named{Source: image.Source{Manifest: text, Digest: top, Open: a.openBlob}}, nil
}

func (a *Archive) openBlob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := a.files.open(blobName(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is not in the archive")
	}
	return r, err
}

// namesOf are the names of an entry: the one containerd and docker note, or the
// OCI's, which is often only a tag, and those of manifest.json.
func namesOf(d v1.Descriptor, docker []dockerImage, manifest []byte) ([]image.Reference, error) {
	var texts []string
	if name := d.Annotations["io.containerd.image.name"]; name != "" {
		texts = append(texts, name)
	} else if name := d.Annotations["org.opencontainers.image.ref.name"]; strings.ContainsAny(name, "/:") {
		texts = append(texts, name)
	}
	var m v1.Manifest
	if json.Unmarshal(manifest, &m) == nil {
		for _, i := range docker {
			if strings.Contains(i.Config, m.Config.Digest.Hex) && m.Config.Digest.Hex != "" {
				texts = append(texts, i.RepoTags...)
			}
		}
	}
	return parseNames(texts)
}

func parseNames(texts []string) ([]image.Reference, error) {
	var names []image.Reference
	for _, text := range texts {
		ref, err := image.ParseReference(text)
		if err != nil {
			return nil, err
		}
		names = merge(names, []image.Reference{ref})
	}
	return names, nil
}

func merge(names, more []image.Reference) []image.Reference {
	for _, ref := range more {
		if !slices.ContainsFunc(names, func(n image.Reference) bool { return n.String() == ref.String() }) {
			names = append(names, ref)
		}
	}
	return names
}
