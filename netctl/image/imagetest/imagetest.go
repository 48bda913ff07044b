// Package imagetest makes images, archives and a registry for tests. Nothing
// comes from outside: an image that has to run carries Debian's static busybox.
package imagetest

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Dir, File and Link are entries of a layer.
func Dir(name string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

// File has the mode 0644.
func File(name, text string) Entry {
	return Entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, text}
}

// Program has the mode 0755.
func Program(name, text string) Entry {
	return Entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, text}
}

// Link is symbolic.
func Link(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// Entry is a header with the content of its file.
type Entry struct {
	tar.Header
	Text string
}

// Tar makes an archive.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		e.Size, e.ModTime = int64(len(e.Text)), time.Unix(1_000_000_000, 0)
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.Text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Layer makes a layer, compressed with gzip.
func Layer(t testing.TB, entries ...Entry) v1.Layer {
	t.Helper()
	text := Tar(t, entries...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Image makes an image for this machine's platform.
func Image(t testing.TB, config v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	return ImageFor(t, "amd64", config, layers...)
}

// ImageFor makes an image for another architecture.
func ImageFor(t testing.TB, architecture string, config v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	i, err := mutate.AppendLayers(empty.Image, layers...)
	if err == nil {
		var c *v1.ConfigFile
		if c, err = i.ConfigFile(); err == nil {
			c = c.DeepCopy()
			c.OS, c.Architecture, c.Config = "linux", architecture, config
			c.Created = v1.Time{Time: time.Unix(1_000_000_000, 0)}
			i, err = mutate.ConfigFile(i, c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Busybox is an image that runs: /bin with busybox's programs, /etc/passwd
// with root and nobody, /tmp. More entries make a second layer.
func Busybox(t testing.TB, config v1.Config, more ...Entry) v1.Image {
	t.Helper()
	if config.Env == nil {
		config.Env = []string{"PATH=/bin:/usr/bin"}
	}
	layers := []v1.Layer{BusyboxLayer(t)}
	if len(more) > 0 {
		layers = append(layers, Layer(t, more...))
	}
	return Image(t, config, layers...)
}

// programs of busybox that the image has links for.
const programs = "sh cat echo ls sleep true false id env pwd nc wget nslookup ip ping httpd hostname printf touch rm mkdir test sync head grep tail seq kill ps top vi tr sort date mount df free uname whoami dd wc cut expr stat readlink chmod chown awk sed netstat traceroute telnet"

// BusyboxLayer is the layer of Busybox.
func BusyboxLayer(t testing.TB) v1.Layer {
	t.Helper()
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v: install busybox-static (test/tools.sh does)", err)
	}
	tmp := Dir("tmp")
	tmp.Mode = 0o1777
	entries := []Entry{Dir("bin"), Program("bin/busybox", string(binary)), Dir("etc"), Dir("root"), Dir("var"), tmp,
		File("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
		File("etc/group", "root:x:0:\nnogroup:x:65534:\n")}
	for program := range strings.FieldsSeq(programs) {
		entries = append(entries, Link(filepath.Join("bin", program), "busybox"))
	}
	return Layer(t, entries...)
}

// Registry starts a registry on the loopback interface and returns its host and
// port.
func Registry(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// Push puts an image into a registry.
func Push(t testing.TB, ref string, image v1.Image) {
	t.Helper()
	n, err := name.ParseReference(ref)
	if err == nil {
		err = remote.Write(n, image, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	}
	if err != nil {
		t.Fatal(err)
	}
}
