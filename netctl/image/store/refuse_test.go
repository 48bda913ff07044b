package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
)

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
