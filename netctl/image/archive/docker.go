package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/netctl/netctl/netctl/image"
)

// dockerImage is an entry of a docker archive's manifest.json: names of files
// in the archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImages reads manifest.json; none if there is none.
func (a *Archive) dockerImages() ([]dockerImage, error) {
	text, err := a.read("manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []dockerImage
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	return list, nil
}

// fromDocker are the images of an archive that has no OCI index. It has no
// manifest in the sense of registries, so one is made.
func (a *Archive) fromDocker(images []dockerImage) ([]Named, error) {
	var list []Named
	for _, i := range images {
		names, err := parseNames(i.RepoTags)
		if err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
		src, err := a.dockerSource(i)
		if err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
		list = append(list, Named{Names: names, Source: src})
	}
	if len(list) == 0 {
		return nil, errors.New("it holds no image")
	}
	return list, nil
}

func (a *Archive) dockerSource(i dockerImage) (image.Source, error) {
	config, err := a.read(i.Config)
	if err != nil {
		return image.Source{}, fmt.Errorf("configuration %s: %w", i.Config, err)
	}
	parsed, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return image.Source{}, fmt.Errorf("configuration %s: %w", i.Config, err)
	}
	if len(parsed.RootFS.DiffIDs) != len(i.Layers) {
		return image.Source{}, fmt.Errorf("%d layers, and the configuration has %d", len(i.Layers), len(parsed.RootFS.DiffIDs))
	}
	sum := sha256.Sum256(config)
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: int64(len(config)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}},
	}
	place := map[v1.Hash]string{m.Config.Digest: i.Config}
	for at, name := range i.Layers {
		d, err := a.dockerLayer(name, parsed.RootFS.DiffIDs[at])
		if err != nil {
			return image.Source{}, fmt.Errorf("layer %s: %w", name, err)
		}
		m.Layers = append(m.Layers, d)
		place[d.Digest] = name
	}
	text, err := json.Marshal(m)
	open := func(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		r, _, err := a.files.open(place[d.Digest])
		return r, err
	}
	return image.Source{Manifest: text, Open: open}, err
}

// dockerLayer describes a layer's file. Its digest is in its name, or it is
// the DiffID because the layer is a plain tar archive, or it has to be computed.
func (a *Archive) dockerLayer(name string, diffID v1.Hash) (v1.Descriptor, error) {
	r, size, err := a.files.open(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	d := v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: size, Digest: diffID}
	if dir, hexDigest := path.Split(name); dir == "blobs/sha256/" {
		d.Digest = v1.Hash{Algorithm: "sha256", Hex: hexDigest}
	}
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return d, err
	}
	head = head[:n]
	if !bytes.HasPrefix(head, []byte{0x1f, 0x8b}) && !bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return d, nil
	}
	d.MediaType = types.DockerLayer
	if strings.HasPrefix(name, "blobs/sha256/") {
		return d, nil
	}
	sum := sha256.New()
	sum.Write(head)
	if _, err := io.Copy(sum, r); err != nil {
		return d, err
	}
	d.Digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return d, nil
}
