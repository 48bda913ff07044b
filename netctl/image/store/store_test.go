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

// An image that lies, or is broken, is refused, and nothing of it stays.
func TestAddRefuses(t *testing.T) {
	layer := imagetest.Layer(t, imagetest.File("a", noise(8000)))
	good := imagetest.Image(t, v1.Config{}, layer)
	blob := digest(t, layer)
	config, _ := good.ConfigName()
	for name, test := range map[string]struct {
		of    v1.Hash
		spoil func([]byte) []byte
		err   string
	}{
		"cut short":            {blob, func(b []byte) []byte { return b[:len(b)/2] }, "it is cut short"},
		"cut short by one":     {blob, func(b []byte) []byte { return b[:len(b)-1] }, "it is cut short"},
		"empty":                {blob, func([]byte) []byte { return nil }, "cut short"},
		"too large":            {blob, func(b []byte) []byte { return append(b, 0) }, "larger than"},
		"another layer":        {blob, func(b []byte) []byte { return sameSize(t, b) }, "digest"},
		"a changed bit":        {blob, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, "layer " + blob.String()},
		"configuration":        {config, func(b []byte) []byte { b[10] ^= 1; return b }, "configuration"},
		"configuration, bomb":  {config, func([]byte) []byte { return make([]byte, maxMetadata+1) }, "configuration"},
		"another compression":  {blob, func(b []byte) []byte { copy(b, "BZh9"); return b }, "bzip2"},
		"xz":                   {blob, func(b []byte) []byte { copy(b, "\xfd7zXZ\x00"); return b }, "xz"},
		"zstd that isn't zstd": {blob, func(b []byte) []byte { copy(b, "\x28\xb5\x2f\xfd"); return b }, "layer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			src := sourceOf(t, good)
			src.spoil[test.of] = test.spoil
			_, err := s.Add(context.Background(), src.Source, refs(t, "bad"), nil)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %s", err, test.err)
			}
			if got := strings.TrimSuffix(strings.TrimPrefix(remains(t, s), "locks:1"), " "); got != "" {
				t.Errorf("it left %s", got)
			}
			if list, err := s.List(); err != nil || len(list) != 0 {
				t.Errorf("listed: %v, %v", list, err)
			}
		})
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

// sameSize is another layer of the size of b: only its digest tells.
func sameSize(t testing.TB, b []byte) []byte {
	t.Helper()
	out := imagetest.Tar(t, imagetest.File("evil", ""))
	return append(out, make([]byte, len(b)-len(out))...)
}

func TestAddRefusesAWrongDiffID(t *testing.T) {
	s := Open(t.TempDir())
	i := imagetest.Image(t, v1.Config{}, imagetest.Layer(t, imagetest.File("a", "1")))
	lie, _ := i.ConfigFile()
	lie = lie.DeepCopy()
	lie.RootFS.DiffIDs[0] = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("ab", 32)}
	src := sourceOf(t, i)
	text := []byte(fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":["%s"]}}`, lie.RootFS.DiffIDs[0]))
	m, _ := i.Manifest()
	manifest := strings.Replace(string(src.Manifest), m.Config.Digest.String(), digestOf(text).String(), 1)
	open := src.Open
	src.Source = image.Source{Manifest: []byte(manifest), Open: func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		if d.Digest == digestOf(text) {
			return io.NopCloser(bytes.NewReader(text)), nil
		}
		return open(ctx, d)
	}}
	_, err := s.Add(context.Background(), src.Source, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "unpacked, its digest is") {
		t.Errorf("got %v", err)
	}
	if got := remains(t, s); got != "locks:1" {
		t.Errorf("it left %s", got)
	}
}

func TestAddRefusesABomb(t *testing.T) {
	s := Open(t.TempDir())
	s.Ratio, s.RatioFloor = 20, 1<<16
	i := imagetest.Image(t, v1.Config{}, imagetest.Layer(t, imagetest.File("zeros", strings.Repeat("\x00", 4<<20))))
	_, err := s.Add(context.Background(), sourceOf(t, i).Source, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "more than 20 times its size") {
		t.Errorf("got %v", err)
	}
}

func TestAddRefusesManifests(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	config := `"config":{"digest":"` + hash + `","size":5}`
	for text, want := range map[string]string{
		"":   "manifest",
		"{}": "digest",
		`{"mediaType":"application/vnd.oci.image.index.v1+json"}`:               "not an image's",
		`{"config":{"digest":"sha256:../../x","size":5}}`:                       "manifest",
		`{"config":{"digest":"md5:0123456789abcdef0123456789abcdef","size":5}}`: "manifest",
		`{"config":{"digest":"` + hash + `","size":99999999999}}`:               "over the limit",
		"{" + config + "}":                      "content's digest",
		strings.Repeat(" ", maxMetadata) + "{}": "over the limit",
	} {
		s := Open(t.TempDir())
		src := image.Source{Manifest: []byte(text), Open: func(context.Context, v1.Descriptor) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("hello")), nil
		}}
		if _, err := s.Add(context.Background(), src, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %s", text, err, want)
		}
	}
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
