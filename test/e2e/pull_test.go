package e2e

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image/imagetest"
)

// slowRegistry hands out contents in small pieces, so that a kill meets a pull
// anywhere, and counts the bytes of layers.
func (h *host) slowRegistry(image v1.Image) (address string) {
	h.t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(&slowWriter{w}, r)
	})
	var l net.Listener
	if err := h.ns.Do(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }); err != nil {
		h.t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l) //nolint:errcheck // ends with the test
	h.t.Cleanup(func() { server.Close() })
	outside := &http.Server{Handler: inner, ErrorLog: log.New(io.Discard, "", 0)}
	o, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	go outside.Serve(o) //nolint:errcheck // closed below
	defer outside.Close()
	imagetest.Push(h.t, o.Addr().String()+"/app", image)
	return l.Addr().String()
}

type slowWriter struct{ http.ResponseWriter }

func (s *slowWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece := p[:min(len(p), 16<<10)]
		n, err := s.ResponseWriter.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[len(piece):]
		if len(p) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return written, nil
}

// TestPullKilled: whenever netctl is killed while it pulls, the images that are
// listed are whole, the next pull works, and pruning leaves nothing.
func TestPullKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	app := imagetest.Busybox(t, v1.Config{Cmd: []string{"echo", "whole"}}, imagetest.File("more", strings.Repeat("0123456789abcdef", 20000)))
	ref := h.slowRegistry(app) + "/app"
	killed := 0
	for delay := 4 * time.Millisecond; delay < 300*time.Millisecond; delay += delay / 3 {
		cmd := h.command("pull", ref)
		if err := h.ns.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if ids := h.netctl("images", "-q"); ids != "" { // it was faster
			if out := h.netctl("run", "--rm", "--network", "none", "--pull", "never", ref); out != "whole" {
				t.Errorf("after %s: %q", delay, out)
			}
			h.netctl("rmi", ref)
		}
	}
	if killed < 3 {
		t.Errorf("only %d pulls were met", killed)
	}
	if out := h.netctl("run", "--rm", "--network", "none", ref); out != "whole" {
		t.Errorf("the last pull: %q", out)
	}
	h.netctl("image", "prune", "-af")
	for _, dir := range []string{"tmp", "locks", "layers", "blobs/sha256"} {
		entries, err := os.ReadDir(filepath.Join(h.root, "lib/images", dir))
		if err != nil || len(entries) > 0 {
			t.Errorf("left in %s: %v, %v", dir, entries, err)
		}
	}
}
