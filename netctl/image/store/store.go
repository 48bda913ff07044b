// Package store keeps images on disk, below the data directory:
//
//	images/oci-layout                 it is an OCI image layout: other tools
//	images/index.json                 can read it too
//	images/blobs/sha256/HEX           manifests, configurations, layers as they came
//	images/layers/HEX/fs              a layer unpacked for overlayfs, by its DiffID
//	images/layers/HEX/size            bytes of its files
//	images/tmp/                       what is being made
//	images/locks/HEX                  held while that layer is being made
//	images/lock                       held to change the index; shared to rely on it
//	images/pulls                      shared by whoever adds, held to collect garbage
//
// Nothing has its final name before it is whole and its digest verified, and
// an image is in the index only when all of it is there. What a killed process
// leaves is in tmp, where the next one for the same layer clears it away, or
// whole layers nobody refers to: a repeated pull finds them, and a collection
// takes them.
//
// There are no counters: who uses a layer is read from the index and the
// containers' records when somebody asks.
package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/layer"
)

// Store is the images of one data directory.
type Store struct {
	dir string
	// Limits bound what one layer may unpack to.
	Limits layer.Limits
	// Ratio bounds how many times its own size a layer may unpack to, if that
	// is more than RatioFloor bytes.
	Ratio, RatioFloor int64
}

// Open returns the store below the data directory. It touches nothing.
func Open(dataDir string) *Store {
	return &Store{dir: filepath.Join(dataDir, "images"), Limits: layer.DefaultLimits, Ratio: 200, RatioFloor: 1 << 30}
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}
func (s *Store) blobPath(d v1.Hash) string       { return s.path("blobs", d.Algorithm, d.Hex) }
func (s *Store) layerPath(diffID v1.Hash) string { return s.path("layers", diffID.Hex) }

// checkDigest is for digests that become a part of a path.
func checkDigest(d v1.Hash) error {
	raw, err := hex.DecodeString(d.Hex)
	if err != nil || d.Algorithm != "sha256" || len(raw) != 32 || strings.ToLower(d.Hex) != d.Hex {
		return fmt.Errorf("digest %q: only sha256 is supported", d)
	}
	return nil
}

// Layers are the directories of an image's file system, topmost first, for
// overlayfs.
func (s *Store) Layers(i *image.Image) ([]string, error) {
	var dirs []string
	for at := len(i.Config.RootFS.DiffIDs) - 1; at >= 0; at-- {
		diffID := i.Config.RootFS.DiffIDs[at]
		dir := filepath.Join(s.layerPath(diffID), "fs")
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("image %s: its layer %s is gone: pull or load it again", i.ID.Short(), diffID)
		}
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 { // overlayfs wants one
		empty := s.path("empty")
		if err := os.MkdirAll(empty, 0o755); err != nil {
			return nil, err
		}
		dirs = append(dirs, empty)
	}
	return dirs, nil
}

// Blob opens a blob of the store.
func (s *Store) Blob(d v1.Hash) (*os.File, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is gone from the image store: pull or load the image again", d)
	}
	return f, err
}

// lockWait is longer than any change of the index takes, and than a collection
// of large layers.
const lockWait = 2 * time.Minute

// Hold keeps all images that are in the store now from being removed, until
// release is called: a container is made meanwhile, and its record keeps its
// image from then on.
func (s *Store) Hold() (release func(), err error) {
	return s.lock("lock", unix.LOCK_SH, lockWait)
}

func (s *Store) lock(name string, how int, wait time.Duration) (release func(), err error) {
	for _, dir := range []string{s.dir, s.path("locks"), s.path("tmp"), s.path("layers"), s.path("blobs", "sha256")} {
		// 0711: overlayfs looks up a layer's path as root, but a container in
		// a user namespace has to get through.
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	f, err := flock.Open(s.path(name), how, wait)
	if errors.Is(err, flock.ErrBusy) {
		return nil, fmt.Errorf("image store: another netctl has been changing it for %s: %w", wait, err)
	}
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return func() { f.Close() }, nil
}

// writeFile gives the file its name only when all of it is on the disk.
func (s *Store) writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(s.path("tmp"), "file-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

// LayerSize is the bytes of the files of an image's layer, counted from the
// bottom.
func (s *Store) LayerSize(i *image.Image, layer int) int64 {
	n, _ := s.layerSize(i.Config.RootFS.DiffIDs[layer])
	return n
}
