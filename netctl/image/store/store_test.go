package store

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
)

// source is an image in memory whose blobs a test can spoil.
type source struct {
	image.Source
	opened sync.Map // digest -> *atomic.Int32
	spoil  map[v1.Hash]func([]byte) []byte
	before func(context.Context, v1.Hash) error
}

func sourceOf(t testing.TB, i v1.Image) *source {
	t.Helper()
	manifest, err := i.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	s := &source{spoil: map[v1.Hash]func([]byte) []byte{}}
	s.Manifest = manifest
	s.Open = func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		n, _ := s.opened.LoadOrStore(d.Digest, new(atomic.Int32))
		n.(*atomic.Int32).Add(1)
		if s.before != nil {
			if err := s.before(ctx, d.Digest); err != nil {
				return nil, err
			}
		}
		b, err := blobOf(i, d.Digest)
		if f := s.spoil[d.Digest]; f != nil {
			b = f(b)
		}
		return io.NopCloser(bytes.NewReader(b)), err
	}
	return s
}

func blobOf(i v1.Image, d v1.Hash) ([]byte, error) {
	if id, _ := i.ConfigName(); id == d {
		return i.RawConfigFile()
	}
	l, err := i.LayerByDigest(d)
	if err != nil {
		return nil, err
	}
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (s *source) count(d v1.Hash) int32 {
	n, ok := s.opened.Load(d)
	if !ok {
		return 0
	}
	return n.(*atomic.Int32).Load()
}

func refs(t testing.TB, names ...string) []image.Reference {
	t.Helper()
	var list []image.Reference
	for _, n := range names {
		ref, err := image.ParseReference(n)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, ref)
	}
	return list
}

func add(t testing.TB, s *Store, i v1.Image, names ...string) image.Image {
	t.Helper()
	got, err := s.Add(context.Background(), sourceOf(t, i).Source, refs(t, names...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func nobody() (map[image.ID][]string, error) { return nil, nil }

// remains lists what is in the store beside the index and its locks.
func remains(t testing.TB, s *Store) string {
	t.Helper()
	var list []string
	for _, dir := range []string{"tmp", "locks", "layers", "blobs/sha256"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			list = append(list, fmt.Sprintf("%s:%d", dir, len(entries)))
		}
	}
	return strings.Join(list, " ")
}

func digest(t testing.TB, l v1.Layer) v1.Hash {
	t.Helper()
	d, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAdd(t *testing.T) {
	s := Open(t.TempDir())
	base := imagetest.Layer(t, imagetest.Dir("etc"), imagetest.File("etc/a", "1"), imagetest.File("etc/b", "22"))
	top := imagetest.Layer(t, imagetest.File("etc/.wh.a", ""), imagetest.File("c", "333"))
	config := v1.Config{Cmd: []string{"x"}, Env: []string{"A=b"}}
	one := add(t, s, imagetest.Image(t, config, base, top), "one:1", "registry.test/one")
	if one.Size != 6 || len(one.Names) != 2 || one.Config.Config.Cmd[0] != "x" {
		t.Errorf("got %+v", one)
	}
	dirs, err := s.Layers(&one)
	if err != nil || len(dirs) != 2 {
		t.Fatal(dirs, err)
	}
	if b, _ := os.ReadFile(filepath.Join(dirs[0], "c")); string(b) != "333" {
		t.Errorf("the topmost layer is not first: %q", b)
	}
	// Another image shares the layer, which is not read again.
	src := sourceOf(t, imagetest.Image(t, v1.Config{}, base))
	two, err := s.Add(context.Background(), src.Source, refs(t, "two"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := src.count(digest(t, base)); n != 0 {
		t.Errorf("the shared layer was read %d times", n)
	}
	if shared, _ := s.Layers(&two); shared[0] != dirs[1] {
		t.Errorf("not shared: %s and %s", shared[0], dirs[1])
	}
	for ref, want := range map[string]image.ID{
		"one:1": one.ID, "registry.test/one:latest": one.ID, "docker.io/library/one:1": one.ID, "two": two.ID,
		string(one.ID): one.ID, one.ID.Short(): one.ID, one.ID.Hex(): one.ID,
	} {
		if got, err := s.Find(ref); err != nil || got.ID != want {
			t.Errorf("%s: %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"one", "", "sha256:", "Bad", "three"} {
		var missing *NotFoundError
		if got, err := s.Find(ref); !errors.As(err, &missing) {
			t.Errorf("%q: %v, %v", ref, got.ID, err)
		}
	}
	if got := remains(t, s); got != "locks:2 layers:2 blobs/sha256:6" {
		t.Errorf("there is %s", got)
	}
}

// A name that moves leaves its former image without one.
func TestNamesMove(t *testing.T) {
	s := Open(t.TempDir())
	old := add(t, s, imagetest.Image(t, v1.Config{Cmd: []string{"1"}}), "app")
	now := add(t, s, imagetest.Image(t, v1.Config{Cmd: []string{"2"}}), "app")
	if got, _ := s.Find("app"); got.ID != now.ID {
		t.Error("app is still the old one")
	}
	if got, err := s.Find(string(old.ID)); err != nil || len(got.Names) != 0 {
		t.Errorf("the old one: %v, %v", got.Names, err)
	}
	if err := s.Tag(old.ID.Short(), refs(t, "app:old")[0]); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || len(list[1].Names) != 1 {
		t.Errorf("got %v, %v", list, err)
	}
	if err := s.Tag("nothing", refs(t, "x")[0]); err == nil {
		t.Error("tagged nothing")
	}
}

// A layer is unpacked by itself: a link of one below leads none of its entries
// anywhere, and it can't name a file of one below to have it as its own.
func TestLayersAreUnpackedApart(t *testing.T) {
	s := Open(t.TempDir())
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := imagetest.Layer(t, imagetest.Link("a", outside), imagetest.File("secret", "x"))
	through := imagetest.Layer(t, imagetest.File("a/new", "x"), imagetest.File("a/.wh.kept", ""), imagetest.File("a/.wh..wh..opq", ""))
	got := add(t, s, imagetest.Image(t, v1.Config{}, base, through), "image")
	names, err := os.ReadDir(outside)
	if err != nil || len(names) != 1 || names[0].Name() != "kept" {
		t.Errorf("outside there is %v, %v", names, err)
	}
	dirs, err := s.Layers(&got)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(filepath.Join(dirs[0], "a")); err != nil || !st.IsDir() {
		t.Errorf("the upper layer's a: %v, %v", st, err)
	}
	hard := imagetest.Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "mine", Linkname: "secret"}}
	_, err = s.Add(context.Background(), sourceOf(t, imagetest.Image(t, v1.Config{}, base, imagetest.Layer(t, hard))).Source, nil, nil)
	if err == nil || !strings.Contains(err.Error(), `hard link to "secret": no such file`) {
		t.Errorf("a hard link to a file of the layer below: %v", err)
	}
}

// noise can't be compressed.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewPCG(1, 2)
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return string(b)
}

// However many add images with the same layer at once, it is read once.
func TestParallelAddsReadALayerOnce(t *testing.T) {
	dir := t.TempDir()
	shared := imagetest.Layer(t, imagetest.File("shared", strings.Repeat("x", 100000)))
	var reads atomic.Int32
	var group errgroup.Group
	for n := range 8 {
		own := imagetest.Layer(t, imagetest.File("own", fmt.Sprint(n)))
		layers := []v1.Layer{shared, own}
		if n%2 == 1 { // in another order, which must not block
			layers = []v1.Layer{own, shared}
		}
		src := sourceOf(t, imagetest.Image(t, v1.Config{}, layers...))
		names := refs(t, fmt.Sprintf("image:%d", n))
		group.Go(func() error {
			_, err := Open(dir).Add(context.Background(), src.Source, names, nil)
			reads.Add(src.count(digest(t, shared)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := reads.Load(); n != 1 {
		t.Errorf("the shared layer was read %d times", n)
	}
	if list, _ := Open(dir).List(); len(list) != 8 {
		t.Errorf("%d images", len(list))
	}
}

func diffID(t testing.TB, l v1.Layer) v1.Hash {
	t.Helper()
	d, err := l.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLayersOfAnEmptyImage(t *testing.T) {
	s := Open(t.TempDir())
	i := add(t, s, imagetest.Image(t, v1.Config{}), "scratch-like")
	if dirs, err := s.Layers(&i); err != nil || len(dirs) != 1 {
		t.Errorf("got %v, %v", dirs, err)
	}
}
