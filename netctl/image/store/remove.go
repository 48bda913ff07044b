package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/netctl/image"
)

// Users are the names of the containers made from each image. It is asked
// while nobody can make another one.
type Users func() (map[image.ID][]string, error)

// Removed is what a removal took away.
type Removed struct {
	Untagged []string   // names
	Deleted  []image.ID // images
	Bytes    int64      // freed on the disk
}

// InUseError: containers were made from the image.
type InUseError struct {
	Ref        string
	Containers []string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("image %s is in use by: %s", e.Ref, strings.Join(e.Containers, ", "))
}

// ErrManyNames: an ID stands for all the names of an image.
var ErrManyNames = errors.New("has several names")

// Tag gives an image another name, which is taken from the image that has it.
func (s *Store) Tag(ref string, name image.Reference) error {
	if name.Tag() == "" {
		return fmt.Errorf("%s: a name by digest can't be given", name)
	}
	release, err := s.lock("lock", unix.LOCK_EX, lockWait)
	if err != nil {
		return err
	}
	defer release()
	i, err := s.Find(ref)
	if err != nil {
		return err
	}
	index, err := s.readIndex()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool { return idOf(d) == i.ID })
	entry := index.Manifests[at]
	enter(index, entry, []image.Reference{name})
	return s.writeIndex(index)
}

// Remove takes a name from an image, and with its last name the image. With
// force an ID with several names goes, and an image in use loses its names (it
// is collected when its last container has gone).
func (s *Store) Remove(ref string, users Users, force bool) (Removed, error) {
	release, err := s.lock("lock", unix.LOCK_EX, lockWait)
	if err != nil {
		return Removed{}, err
	}
	defer release()
	i, err := s.Find(ref)
	if err != nil {
		return Removed{}, err
	}
	index, err := s.readIndex()
	if err != nil {
		return Removed{}, err
	}
	inUse, err := users()
	if err != nil {
		return Removed{}, err
	}
	removed, err := s.remove(index, &i, ref, inUse[i.ID], force)
	if err != nil {
		return Removed{}, err
	}
	if err := s.writeIndex(index); err != nil {
		return Removed{}, err
	}
	removed.Bytes, err = s.collect()
	return removed, err
}

func (s *Store) remove(index *v1.IndexManifest, i *image.Image, ref string, holders []string, force bool) (Removed, error) {
	names := i.Names
	if one := slices.IndexFunc(names, func(r image.Reference) bool { return same(r, ref) }); one >= 0 {
		names = names[one : one+1]
	} else if len(names) > 1 && !force {
		return Removed{}, fmt.Errorf("image %s %w: %s", i.ID.Short(), ErrManyNames, joined(names))
	}
	last := len(names) == len(i.Names)
	if last && len(holders) > 0 && !force {
		return Removed{}, &InUseError{Ref: ref, Containers: holders}
	}
	var removed Removed
	for _, name := range names {
		removeName(index, name.String())
		removed.Untagged = append(removed.Untagged, name.Familiar())
	}
	if last && len(holders) == 0 {
		removeImage(index, i.ID)
		removed.Deleted = []image.ID{i.ID}
	}
	return removed, nil
}

func same(name image.Reference, text string) bool {
	ref, err := image.ParseReference(text)
	return err == nil && ref.String() == name.String()
}

func joined(names []image.Reference) string {
	var list []string
	for _, n := range names {
		list = append(list, n.Familiar())
	}
	return strings.Join(list, ", ")
}

// Prune removes all images for which doomed holds and that no container uses,
// and whatever interrupted pulls have left.
func (s *Store) Prune(users Users, doomed func(*image.Image) bool) (Removed, error) {
	release, err := s.lock("lock", unix.LOCK_EX, lockWait)
	if err != nil {
		return Removed{}, err
	}
	defer release()
	list, err := s.List()
	if err != nil {
		return Removed{}, err
	}
	inUse, err := users()
	if err != nil {
		return Removed{}, err
	}
	index, err := s.readIndex()
	if err != nil {
		return Removed{}, err
	}
	var removed Removed
	for _, i := range list {
		if len(inUse[i.ID]) > 0 || !doomed(&i) {
			continue
		}
		removeImage(index, i.ID)
		removed.Deleted = append(removed.Deleted, i.ID)
		for _, name := range i.Names {
			removed.Untagged = append(removed.Untagged, name.Familiar())
		}
	}
	if len(removed.Deleted) > 0 {
		if err := s.writeIndex(index); err != nil {
			return Removed{}, err
		}
	}
	removed.Bytes, err = s.collect()
	return removed, err
}

// pending is there while a collection waits for the end of a pull.
const pending = "collect"

// collect deletes blobs and layers that no image has, and returns how many
// bytes that freed. The caller holds the lock. While something is being added
// its layers belong to no image yet: then whoever adds collects afterwards.
func (s *Store) collect() (int64, error) {
	pulls, err := flock.Open(s.path("pulls"), unix.LOCK_EX, 0)
	if errors.Is(err, flock.ErrBusy) {
		return 0, s.writeFile(s.path(pending), nil)
	}
	if err != nil {
		return 0, err
	}
	defer pulls.Close()
	blobs, layers, err := s.referenced()
	if err != nil {
		return 0, err
	}
	var freed int64
	errs := []error{os.RemoveAll(s.path(pending))}
	for _, place := range []struct {
		dir  string
		keep map[string]bool
	}{{s.path("blobs", "sha256"), blobs}, {s.path("layers"), layers}, {s.path("tmp"), nil}, {s.path("locks"), nil}} {
		n, err := s.sweep(place.dir, place.keep)
		freed += n
		errs = append(errs, err)
	}
	return freed, errors.Join(errs...)
}

// collectIfAsked makes up for a collection that met a pull.
func (s *Store) collectIfAsked() error {
	if _, err := os.Lstat(s.path(pending)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	release, err := s.lock("lock", unix.LOCK_EX, lockWait)
	if err != nil {
		return err
	}
	defer release()
	_, err = s.collect()
	return err
}

// referenced are the blobs and layers of the images in the index, by name of
// file.
func (s *Store) referenced() (blobs, layers map[string]bool, err error) {
	list, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	blobs, layers = map[string]bool{}, map[string]bool{}
	for _, i := range list {
		blobs[i.Manifest.Hex], blobs[i.ID.Hex()] = true, true
		for _, b := range i.Blobs {
			blobs[b.Digest.Hex] = true
		}
		for _, d := range i.Config.RootFS.DiffIDs {
			layers[d.Hex] = true
		}
	}
	return blobs, layers, nil
}

// sweep deletes all in dir but what is kept.
func (s *Store) sweep(dir string, keep map[string]bool) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var freed int64
	var errs []error
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		freed += s.sizeOf(dir, e)
		// It is out of the way at once, however long its deletion takes.
		gone := s.path("tmp", "gone-"+time.Now().Format("150405.000000000")+"-"+e.Name())
		if err := os.Rename(dir+"/"+e.Name(), gone); err != nil {
			gone = dir + "/" + e.Name()
		}
		errs = append(errs, os.RemoveAll(gone))
	}
	return freed, errors.Join(errs...)
}

func (s *Store) sizeOf(dir string, e fs.DirEntry) int64 {
	if dir == s.path("layers") {
		n, _ := s.layerSize(v1.Hash{Algorithm: "sha256", Hex: e.Name()})
		return n
	}
	if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}
