// Package image holds the words of the image store: References (names), IDs,
// Images (what the store has) and Sources (images that lie elsewhere). The
// packages below it do the work:
//
//	layer     unpacks a layer, which may be hostile
//	store     keeps images on disk: content, names, who is at work
//	registry  images in registries
//	archive   images in archives and directories, read and written
package image

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ID is the digest of an image's configuration, sha256:HEX. It names the
// content: what runs, and on top of what.
type ID string

// Hex is the ID without its algorithm.
func (id ID) Hex() string { return strings.TrimPrefix(string(id), "sha256:") }

// Short is the form of tables.
func (id ID) Short() string { return id.Hex()[:min(12, len(id.Hex()))] }

// Image is one image of the store.
type Image struct {
	ID    ID
	Names []Reference // none: dangling
	// Manifest is the digest of its manifest; Digests are what it was pulled
	// by, REPOSITORY@DIGEST.
	Manifest v1.Hash
	Digests  []string
	Stored   time.Time // when it came into the store
	Config   v1.ConfigFile
	Blobs    []v1.Descriptor // the layers as they were distributed, bottom first
	Size     int64           // bytes of all files of all layers
}

// Platform of the image.
func (i *Image) Platform() v1.Platform { return PlatformOf(&i.Config) }

// PlatformOf is what a configuration is made for.
func PlatformOf(c *v1.ConfigFile) v1.Platform {
	return v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
}

// Source is an image that lies somewhere else.
type Source struct {
	Manifest []byte // of one image; the store checks it
	// Digest is what its name led to, the manifest's or an index's; zero if
	// it has no name of that kind.
	Digest v1.Hash
	// Open reads a part of the image. What it gives may be wrong or cut
	// short: the reader checks the digest.
	Open func(context.Context, v1.Descriptor) (io.ReadCloser, error)
}

// A Report is told how a layer comes along. Calls come from several
// goroutines; those for one layer in order.
type Report func(LayerProgress)

// LayerProgress is the state of one layer.
type LayerProgress struct {
	Layer       v1.Hash // its blob
	State       LayerState
	Done, Total int64 // bytes of the blob
}

// LayerState is what happens to a layer.
type LayerState string

const (
	LayerWaiting LayerState = "waiting"
	LayerLoading LayerState = "loading"
	LayerDone    LayerState = "done"
	LayerExists  LayerState = "already exists"
)

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT]; the empty text means ours.
func ParsePlatform(text string) (v1.Platform, error) {
	if text == "" {
		return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return v1.Platform{}, fmt.Errorf("invalid platform %q: want OS/ARCHITECTURE[/VARIANT], such as linux/arm64", text)
	}
	p := v1.Platform{OS: parts[0], Architecture: architecture(parts[1])}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// architecture gives the name that Go and images use.
func architecture(name string) string {
	switch name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}

// Fits tells whether an image for has can be taken where want is asked for. An
// image that doesn't say what it is for (older ones) fits everywhere.
func Fits(has, want v1.Platform) bool {
	return (has.OS == "" || has.OS == want.OS) && (has.Architecture == "" || has.Architecture == want.Architecture) &&
		(want.Variant == "" || has.Variant == want.Variant)
}

// Choose finds the image of an index for a platform. An error lists what there
// is.
func Choose(index *v1.IndexManifest, want v1.Platform) (v1.Descriptor, error) {
	var known []string
	for _, d := range index.Manifests {
		if d.Platform == nil {
			d.Platform = &v1.Platform{}
		}
		if d.MediaType.IsIndex() || d.Platform.OS == "unknown" { // attestations
			continue
		}
		if Fits(*d.Platform, want) {
			return d, nil
		}
		known = append(known, d.Platform.String())
	}
	if len(known) == 0 {
		return v1.Descriptor{}, fmt.Errorf("it holds no image")
	}
	return v1.Descriptor{}, fmt.Errorf("there is none for platform %s (there are: %s)", want, strings.Join(known, ", "))
}
