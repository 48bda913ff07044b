package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
)

// What was complete when a pull was interrupted is not read again.
func TestInterruptedAddResumes(t *testing.T) {
	s := Open(t.TempDir())
	first := imagetest.Layer(t, imagetest.File("a", "1"))
	second := imagetest.Layer(t, imagetest.File("b", "2"))
	i := imagetest.Image(t, v1.Config{}, first, second)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	src := sourceOf(t, i)
	done := make(chan struct{})
	src.before = func(_ context.Context, d v1.Hash) error {
		if d == digest(t, second) {
			<-done
			cancel()
		}
		return nil
	}
	report := func(p image.LayerProgress) {
		if p.Layer == digest(t, first) && p.State == image.LayerDone {
			go func() { close(done) }()
		}
	}
	if _, err := s.Add(ctx, src.Source, refs(t, "x"), report); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if list, _ := s.List(); len(list) != 0 {
		t.Errorf("listed: %v", list)
	}
	if got := remains(t, s); got != "locks:2 layers:1 blobs/sha256:1" {
		t.Errorf("there is %s", got)
	}
	again := sourceOf(t, i)
	if _, err := s.Add(context.Background(), again.Source, refs(t, "x"), nil); err != nil {
		t.Fatal(err)
	}
	if again.count(digest(t, first)) != 0 || again.count(digest(t, second)) != 1 {
		t.Error("the complete layer was read again")
	}
}

// A process that was killed has left its half of a layer.
func TestAddClearsLeftovers(t *testing.T) {
	s := Open(t.TempDir())
	l := imagetest.Layer(t, imagetest.File("a", "1"))
	diffID, _ := l.DiffID()
	left := s.path("tmp", diffID.Hex, "layer", "fs")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "half"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	i := add(t, s, imagetest.Image(t, v1.Config{}, l), "x")
	dirs, err := s.Layers(&i)
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dirs[0]); len(entries) != 1 || entries[0].Name() != "a" {
		t.Errorf("the layer has %v", entries)
	}
	if got := remains(t, s); got != "locks:1 layers:1 blobs/sha256:3" {
		t.Errorf("there is %s", got)
	}
}

func TestRemove(t *testing.T) {
	s := Open(t.TempDir())
	base := imagetest.Layer(t, imagetest.File("a", "1"))
	one := add(t, s, imagetest.Image(t, v1.Config{}, base, imagetest.Layer(t, imagetest.File("b", "2"))), "one:1", "one:2")
	two := add(t, s, imagetest.Image(t, v1.Config{}, base), "two")
	web := func() (map[image.ID][]string, error) { return map[image.ID][]string{one.ID: {"web"}}, nil }

	if _, err := s.Remove(one.ID.Short(), nobody, false); !errors.Is(err, ErrManyNames) {
		t.Errorf("by ID: %v", err)
	}
	removed, err := s.Remove("one:1", web, false) // only a name
	if err != nil || len(removed.Deleted) != 0 || fmt.Sprint(removed.Untagged) != "[one:1]" {
		t.Errorf("one:1: %+v, %v", removed, err)
	}
	var inUse *InUseError
	if _, err := s.Remove("one:2", web, false); !errors.As(err, &inUse) || err.Error() != "image one:2 is in use by: web" {
		t.Errorf("in use: %v", err)
	}
	if removed, err := s.Remove("one:2", web, true); err != nil || len(removed.Deleted) != 0 {
		t.Errorf("in use, forced: %+v, %v", removed, err)
	}
	if i, err := s.Find(string(one.ID)); err != nil || len(i.Names) != 0 {
		t.Errorf("it should be there without names: %v, %v", i.Names, err)
	}
	if removed, err := s.Prune(web, func(i *image.Image) bool { return len(i.Names) == 0 }); err != nil || len(removed.Deleted) != 0 {
		t.Errorf("prune took what is in use: %+v, %v", removed, err)
	}
	removed, err = s.Prune(nobody, func(i *image.Image) bool { return len(i.Names) == 0 })
	if err != nil || len(removed.Deleted) != 1 || removed.Bytes == 0 {
		t.Errorf("prune: %+v, %v", removed, err)
	}
	if dirs, err := s.Layers(&two); err != nil || len(dirs) != 1 {
		t.Errorf("the shared layer: %v, %v", dirs, err)
	}
	if got := remains(t, s); got != "layers:1 blobs/sha256:3" {
		t.Errorf("there is %s", got)
	}
	if removed, err := s.Remove("two", nobody, false); err != nil || len(removed.Deleted) != 1 {
		t.Errorf("two: %+v, %v", removed, err)
	}
	if got := remains(t, s); got != "" {
		t.Errorf("there is %s", got)
	}
}

// A removal does not take the layers of an image that is just coming in, and
// what it had to leave goes when that has come.
func TestRemoveWhileAdding(t *testing.T) {
	s := Open(t.TempDir())
	add(t, s, imagetest.Image(t, v1.Config{}, imagetest.Layer(t, imagetest.File("old", "1"))), "old")
	first, second := imagetest.Layer(t, imagetest.File("a", "1")), imagetest.Layer(t, imagetest.File("b", "2"))
	src := sourceOf(t, imagetest.Image(t, v1.Config{}, first, second))
	settled := make(chan struct{})
	src.before = func(_ context.Context, d v1.Hash) error {
		if d != digest(t, second) {
			return nil
		}
		<-settled
		_, err := s.Remove("old", nobody, false)
		return err
	}
	report := func(p image.LayerProgress) {
		if p.Layer == digest(t, first) && p.State == image.LayerDone {
			go func() {
				for _, ok := s.layerSize(diffID(t, first)); !ok; _, ok = s.layerSize(diffID(t, first)) {
				}
				close(settled)
			}()
		}
	}
	i, err := s.Add(context.Background(), src.Source, refs(t, "new"), report)
	if err != nil {
		t.Fatal(err)
	}
	if dirs, err := s.Layers(&i); err != nil || len(dirs) != 2 {
		t.Errorf("got %v, %v", dirs, err)
	}
	if got := remains(t, s); got != "layers:2 blobs/sha256:4" {
		t.Errorf("there is %s", got)
	}
}
