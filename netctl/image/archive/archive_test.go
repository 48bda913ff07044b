package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
	"github.com/netctl/netctl/netctl/image/store"
)

func ours(t testing.TB) v1.Platform {
	t.Helper()
	p, err := image.ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// load brings all images of an archive into a store.
func load(t testing.TB, s *store.Store, a *Archive) ([]image.Image, error) {
	t.Helper()
	defer a.Close()
	found, err := a.Images(ours(t))
	if err != nil {
		return nil, err
	}
	var list []image.Image
	for _, n := range found {
		i, err := s.Add(context.Background(), n.Source, n.Names, nil)
		if err != nil {
			return list, err
		}
		list = append(list, i)
	}
	return list, nil
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func testImage(t testing.TB) v1.Image {
	t.Helper()
	base := imagetest.Layer(t, imagetest.File("a", "1"))
	return imagetest.Image(t, v1.Config{Cmd: []string{"x"}}, base, imagetest.Layer(t, imagetest.File("b", "2")), base)
}

// dockerArchive is one as docker before 25 wrote it: layers as plain tar
// archives in directories of their own, equal ones as links.
func dockerArchive(t testing.TB, i v1.Image, tag string) []byte {
	t.Helper()
	config, err := i.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(config)
	d := dockerImage{Config: hex.EncodeToString(sum[:]) + ".json", RepoTags: []string{tag}}
	entries := []imagetest.Entry{imagetest.File(d.Config, string(config))}
	layers, _ := i.Layers()
	seen := map[v1.Hash]string{}
	for n, l := range layers {
		r, _ := l.Uncompressed()
		text, _ := io.ReadAll(r)
		id, _ := l.DiffID()
		file := fmt.Sprintf("layer%d/layer.tar", n)
		d.Layers = append(d.Layers, file)
		if first := seen[id]; first != "" {
			entries = append(entries, imagetest.Link(file, "../"+first))
			continue
		}
		seen[id] = file
		entries = append(entries, imagetest.File(file, string(text)))
	}
	list, _ := json.Marshal([]dockerImage{d})
	return imagetest.Tar(t, append(entries, imagetest.File("manifest.json", string(list)))...)
}

func layoutDir(t testing.TB, i v1.Image, annotations map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = l.AppendImage(i, layout.WithAnnotations(annotations))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func tarOf(t testing.TB, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLoadAllForms(t *testing.T) {
	i := testImage(t)
	id, _ := i.ConfigName()
	tag, _ := name.NewTag("app:1")
	var library bytes.Buffer
	if err := tarball.Write(tag, i, &library); err != nil {
		t.Fatal(err)
	}
	named := map[string]string{"org.opencontainers.image.ref.name": "docker.io/library/app:1"}
	old := dockerArchive(t, i, "app:1")
	for form, path := range map[string]string{
		"docker save of old":       write(t, "a.tar", old),
		"docker save, compressed":  write(t, "a.tar.gz", zipped(t, old)),
		"ggcr's tarball":           write(t, "a.tar", library.Bytes()),
		"layout":                   layoutDir(t, i, named),
		"OCI archive":              write(t, "a.tar", tarOf(t, layoutDir(t, i, named))),
		"OCI archive, containerd":  write(t, "a.tar", tarOf(t, layoutDir(t, i, map[string]string{"io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1"}))),
		"OCI archive, only a name": write(t, "a.tar", tarOf(t, layoutDir(t, i, map[string]string{"org.opencontainers.image.ref.name": "app:1"}))),
	} {
		s := store.Open(t.TempDir())
		a, err := Open(path, t.TempDir())
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		list, err := load(t, s, a)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", form, list, err)
			continue
		}
		if got := list[0]; string(got.ID) != id.String() || len(got.Names) != 1 || got.Names[0].Familiar() != "app:1" {
			t.Errorf("%s: got %s %v", form, got.ID, got.Names)
		}
		if dirs, err := s.Layers(&list[0]); err != nil || len(dirs) != 3 {
			t.Errorf("%s: %v, %v", form, dirs, err)
		}
	}
}

// What is saved is loaded as what it was, by us and by others, and the same
// again gives the same bytes.
func TestSaveAndLoad(t *testing.T) {
	s := store.Open(t.TempDir())
	a, err := Open(layoutDir(t, testImage(t), map[string]string{"org.opencontainers.image.ref.name": "app:1"}), "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := load(t, s, a)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := image.ParseReference("other:2")
	saved := []Saved{{Image: list[0], Names: append(list[0].Names, other)}}
	var out, again bytes.Buffer
	if err := Write(&out, saved, s.Blob); err != nil {
		t.Fatal(err)
	}
	if err := Write(&again, saved, s.Blob); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("not the same again: %v", err)
	}
	back, err := Read(bytes.NewReader(out.Bytes()), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fresh := store.Open(t.TempDir())
	loaded, err := load(t, fresh, back)
	if err != nil || len(loaded) != 1 || loaded[0].ID != list[0].ID || loaded[0].Manifest != list[0].Manifest || len(loaded[0].Names) != 2 {
		t.Errorf("got %+v, %v", loaded, err)
	}
	// As docker reads it: by manifest.json.
	tag, _ := name.NewTag("other:2")
	path := write(t, "saved.tar", out.Bytes())
	theirs, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := theirs.ConfigName(); err != nil || id.String() != string(list[0].ID) {
		t.Errorf("ggcr reads %s, %v", id, err)
	}
	// As an OCI layout.
	dir := t.TempDir()
	untar(t, out.Bytes(), dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := index.IndexManifest(); err != nil || len(m.Manifests) != 2 {
		t.Errorf("got %v, %v", m, err)
	}
}

func untar(t testing.TB, b []byte, dir string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err != nil {
			return
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Hostile archives are refused in words, and nothing outside of the store
// changes.
func TestLoadRefuses(t *testing.T) {
	file := imagetest.File
	secret := write(t, "secret", []byte("secret"))
	index := func(text string) imagetest.Entry { return file("index.json", text) }
	hash := "sha256:" + strings.Repeat("ab", 32)
	up := filepath.Join("../../../../../../../..", secret)
	whole := dockerArchive(t, testImage(t), "app:1")
	for name, test := range map[string]struct {
		archive []byte
		err     string
	}{
		"no archive":         {[]byte("hello, this is not a tar archive"), "read archive"},
		"nothing":            {nil, "neither manifest.json nor index.json"},
		"something else":     {imagetest.Tar(t, file("a", "b")), "neither manifest.json nor index.json"},
		"large list":         {imagetest.Tar(t, file("manifest.json", strings.Repeat(" ", maxMetadata+1))), "manifest.json: 8388609 bytes, over the limit of 8388608"},
		"cut short":          {whole[:len(whole)/2], "unexpected EOF"},
		"empty list":         {imagetest.Tar(t, file("manifest.json", "[]")), "no image"},
		"no JSON":            {imagetest.Tar(t, file("manifest.json", "x")), "manifest.json"},
		"file of the host":   {imagetest.Tar(t, file("manifest.json", `[{"Config":"`+up+`","Layers":[]}]`)), "file does not exist"},
		"link to the host":   {imagetest.Tar(t, imagetest.Link("c", secret), file("manifest.json", `[{"Config":"c","Layers":[]}]`)), "file does not exist"},
		"link up":            {imagetest.Tar(t, imagetest.Link("c", up), file("manifest.json", `[{"Config":"c","Layers":[]}]`)), "file does not exist"},
		"link to itself":     {imagetest.Tar(t, imagetest.Link("c", "c"), file("manifest.json", `[{"Config":"c","Layers":[]}]`)), "links in a circle"},
		"links in a circle":  {imagetest.Tar(t, imagetest.Link("c", "d"), imagetest.Link("d", "c"), file("manifest.json", `[{"Config":"c","Layers":[]}]`)), "links in a circle"},
		"too many layers":    {imagetest.Tar(t, file("c", `{"rootfs":{"type":"layers","diff_ids":[]}}`), file("manifest.json", `[{"Config":"c","Layers":["c"]}]`)), "1 layers, and the configuration has 0"},
		"a bad name":         {imagetest.Tar(t, file("c", `{}`), file("manifest.json", `[{"Config":"c","RepoTags":["../../etc"],"Layers":[]}]`)), "invalid image name"},
		"index, no blob":     {imagetest.Tar(t, index(`{"manifests":[{"digest":"`+hash+`","size":3,"mediaType":"application/vnd.oci.image.manifest.v1+json"}]}`)), "file does not exist"},
		"index, bad digest":  {imagetest.Tar(t, index(`{"manifests":[{"digest":"sha256:../../x","size":3}]}`)), "index.json"},
		"index, empty":       {imagetest.Tar(t, index(`{"manifests":[]}`)), "no image"},
		"index, wrong blob":  {imagetest.Tar(t, index(`{"manifests":[{"digest":"`+hash+`","size":3}]}`), file("blobs/sha256/"+hash[7:], "xyz")), "manifest"},
		"compressed, broken": {append([]byte{0x1f, 0x8b, 8, 0}, make([]byte, 100)...), "read archive"},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			a, err := Open(write(t, "a.tar", test.archive), filepath.Join(data, "tmp"))
			if err == nil {
				_, err = load(t, store.Open(data), a)
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %s", err, test.err)
			}
			filepath.WalkDir(data, func(path string, d fs.DirEntry, _ error) error {
				if !d.IsDir() && !slices.Contains([]string{"pulls", "lock"}, d.Name()) {
					t.Errorf("it left %s", path)
				}
				return nil
			})
		})
	}
}

// A layout's directory may hold anything, too.
func TestLayoutStaysInItsDirectory(t *testing.T) {
	dir := layoutDir(t, testImage(t), nil)
	index := filepath.Join(dir, "index.json")
	if err := os.Rename(index, dir+"-index"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"-index", index); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, store.Open(t.TempDir()), a); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("got %v", err)
	}
}

// A digest in the archive's index that its content doesn't have.
func TestLoadVerifies(t *testing.T) {
	i := testImage(t)
	dir := layoutDir(t, i, nil)
	layers, _ := i.Layers()
	d, _ := layers[1].Digest()
	path := filepath.Join(dir, "blobs/sha256", d.Hex)
	b, _ := os.ReadFile(path)
	b[len(b)-6] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, store.Open(t.TempDir()), a); err == nil || !strings.Contains(err.Error(), "layer "+d.String()) {
		t.Errorf("got %v", err)
	}
}

func FuzzImages(f *testing.F) {
	f.Add(dockerArchive(f, testImage(f), "app:1"))
	f.Add(tarOf(f, layoutDir(f, testImage(f), map[string]string{"org.opencontainers.image.ref.name": "app:1"})))
	f.Add(imagetest.Tar(f, imagetest.Link("manifest.json", "manifest.json")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Read(bytes.NewReader(b), t.TempDir())
		if err != nil {
			return
		}
		defer a.Close()
		_, _ = a.Images(ours(t))
	})
}
