package netctl

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
)

// scriptImages are images for scripts: an archive of busybox, whose path is
// $BUSYBOX, and a registry with busybox:1 and app:1, an image that says all that
// an image can say.
type scriptImages struct {
	archive string
	handler http.Handler
}

func testImages(t *testing.T) *scriptImages {
	t.Helper()
	busybox := imagetest.Busybox(t, v1.Config{Cmd: []string{"sh"}})
	app := imagetest.Busybox(t, v1.Config{
		Entrypoint: []string{"/bin/echo", "entry"}, Cmd: []string{"command"}, Env: []string{"PATH=/bin", "FROM=image"},
		User: "nobody", WorkingDir: "/srv/app", ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}},
		Volumes: map[string]struct{}{"/data": {}}, Labels: map[string]string{"from": "image", "both": "image"}, StopSignal: "SIGINT",
	}, imagetest.Dir("srv"), imagetest.Dir("srv/app"), imagetest.File("etc/.wh.group", ""), imagetest.File("srv/app/file", "text\n"))
	s := &scriptImages{archive: filepath.Join(t.TempDir(), "busybox.tar"), handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	tag, err := name.NewTag("busybox:1")
	if err == nil {
		err = tarball.WriteToFile(s.archive, tag, busybox)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.handler)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	imagetest.Push(t, host+"/busybox:1", busybox)
	imagetest.Push(t, host+"/app:1", app)
	imagetest.Push(t, host+"/arm:1", imagetest.ImageFor(t, "arm64", v1.Config{Cmd: []string{"x"}}))
	imagetest.Push(t, host+"/greedy:1", imagetest.Busybox(t, v1.Config{Volumes: map[string]struct{}{"/etc:/stolen:ro": {}}}))
	imagetest.Push(t, host+"/evil:1", imagetest.Image(t, v1.Config{Cmd: []string{"sh"}},
		imagetest.Layer(t, imagetest.Link("out", os.TempDir()), imagetest.File("out/"+filepath.Base(s.archive)+".evil", "x"))))
	return s
}

// registry opens the socket on the script's own thread, in its network
// namespace.
func (s *scriptImages) registry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: s.handler, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l) //nolint:errcheck // ends with the script
	ts.Defer(func() { server.Close() })
	ts.Setenv("REGISTRY", l.Addr().String())
}

// The bars of a pull, as a terminal gets them.
func TestProgressLines(t *testing.T) {
	layer := func(c string, state image.LayerState, done, total int64) image.LayerProgress {
		return image.LayerProgress{Layer: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(c, 64)}, State: state, Done: done, Total: total}
	}
	got := strings.Join(progressLines([]image.LayerProgress{
		layer("a", image.LayerDone, 1000, 1000), layer("b", image.LayerLoading, 500, 2000), layer("c", image.LayerWaiting, 0, 3000),
	}), "\n")
	want := "1/3 layers     [=======                       ] 1.5kB / 6kB\n" +
		"bbbbbbbbbbbb   [=======                       ] 500B / 2kB"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPullDisplayWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	d := newPullDisplay(&out, false)
	p := image.LayerProgress{Layer: v1.Hash{Hex: strings.Repeat("a", 64)}, State: image.LayerWaiting, Total: 2000}
	for _, state := range []image.LayerState{image.LayerWaiting, image.LayerLoading, image.LayerLoading, image.LayerDone} {
		p.State = state
		d.report(p)
	}
	d.end()
	if got := out.String(); got != "aaaaaaaaaaaa: done (2kB)\n" {
		t.Errorf("got %q", got)
	}
}

func TestIsReference(t *testing.T) {
	for text, want := range map[string]bool{
		"alpine": true, "a/b": true, "localhost:5000/x": true, "host": false, "/": false, "/srv/root": false, "./x": false, "../x": false, ".": false, "..": false,
	} {
		if isReference(text) != want {
			t.Errorf("%s", text)
		}
	}
}
