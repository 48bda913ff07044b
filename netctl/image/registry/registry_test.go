package registry

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/imagetest"
	"github.com/netctl/netctl/netctl/image/store"
)

var quick = remote.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 2}

func platform(t testing.TB, text string) v1.Platform {
	t.Helper()
	p, err := image.ParsePlatform(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func reference(t testing.TB, text string) image.Reference {
	t.Helper()
	ref, err := image.ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestPull(t *testing.T) {
	host := imagetest.Registry(t)
	i := imagetest.Image(t, v1.Config{Cmd: []string{"x"}}, imagetest.Layer(t, imagetest.File("a", "1")))
	imagetest.Push(t, host+"/some/app:1", i)
	ref := reference(t, host+"/some/app:1")
	src, err := Client{}.Find(t.Context(), ref, platform(t, "linux/amd64"), false)
	if err != nil {
		t.Fatal(err)
	}
	s := store.Open(t.TempDir())
	got, err := s.Add(t.Context(), src, []image.Reference{ref}, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := i.Digest()
	id, _ := i.ConfigName()
	if string(got.ID) != id.String() || fmt.Sprint(got.Digests) != "["+host+"/some/app@"+digest.String()+"]" {
		t.Errorf("got %s, %v", got.ID, got.Digests)
	}
	// By digest: it has no tag then.
	byDigest := reference(t, host+"/some/app@"+digest.String())
	if src, err = (Client{}).Find(t.Context(), byDigest, platform(t, ""), false); err != nil {
		t.Fatal(err)
	}
	s = store.Open(t.TempDir())
	if got, err = s.Add(t.Context(), src, []image.Reference{byDigest}, nil); err != nil || len(got.Names) != 0 {
		t.Errorf("got %v, %v", got.Names, err)
	}
	if _, err := s.Find(byDigest.String()); err != nil {
		t.Error(err)
	}
}

func TestPlatforms(t *testing.T) {
	host := imagetest.Registry(t)
	index := mutate.IndexMediaType(empty.Index, "application/vnd.oci.image.index.v1+json")
	images := map[string]v1.Image{}
	for _, arch := range []string{"amd64", "arm64"} {
		images[arch] = imagetest.ImageFor(t, arch, v1.Config{}, imagetest.Layer(t, imagetest.File("arch", arch)))
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: images[arch], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	at, err := name.ParseReference(host + "/multi")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(at, index); err != nil {
		t.Fatal(err)
	}
	imagetest.Push(t, host+"/single", images["arm64"])
	for _, test := range []struct {
		image, platform string
		exact           bool
		arch, err       string
	}{
		{"multi", "linux/amd64", false, "amd64", ""},
		{"multi", "linux/aarch64", true, "arm64", ""},
		{"multi", "linux/s390x", false, "", "none for platform linux/s390x (there are: linux/amd64, linux/arm64)"},
		{"single", "linux/amd64", false, "arm64", ""},
		{"single", "linux/amd64", true, "", "it is for platform linux/arm64, not linux/amd64"},
	} {
		src, err := Client{}.Find(t.Context(), reference(t, host+"/"+test.image), platform(t, test.platform), test.exact)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%+v: got %v", test, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		want, _ := images[test.arch].RawManifest()
		if string(src.Manifest) != string(want) {
			t.Errorf("%+v: got %s", test, src.Manifest)
		}
	}
}

// serve answers every request so.
func serve(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func body(code string) string {
	return `{"errors":[{"code":"` + code + `","message":"words\nof the registry"}]}`
}

func TestErrors(t *testing.T) {
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	selfSigned := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	selfSigned.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(selfSigned.Close)
	for name, test := range map[string]struct{ host, err, hint string }{
		"connection refused": {refused.Addr().String(), "can't be reached: connection refused", "is it running"},
		"no such name":       {"registry.invalid", "the name registry.invalid does not resolve", "check the name"},
		"unauthorized":       {serve(t, 401, body("UNAUTHORIZED")), "refuses access to HOST/app: it does not exist or needs a login", "docker login HOST"},
		"denied":             {serve(t, 403, body("DENIED")), "does not exist or needs a login", "docker login"},
		"no repository":      {serve(t, 404, body("NAME_UNKNOWN")), "has no repository HOST/app", "check the name"},
		"no tag":             {serve(t, 404, body("MANIFEST_UNKNOWN")), "registry HOST has no such image", "tag"},
		"not found, no body": {serve(t, 404, ""), "has no such image", "tag"},
		"rate limit":         {serve(t, 429, body("TOOMANYREQUESTS")), "allows no more pulls for now (rate limit)", "log in"},
		"broken":             {serve(t, 503, ""), "answers 503 Service Unavailable", "later"},
		"broken, says so":    {serve(t, 500, body("UNKNOWN")), "answers 500 Internal Server Error", "later"},
		"nonsense":           {serve(t, 200, "<html>"), "manifest", ""},
		"unknown authority":  {selfSigned.Listener.Addr().String(), "nobody we trust has signed its certificate", "certs.d/HOST/ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ref := reference(t, test.host+"/app:1")
			src, err := Client{Backoff: quick}.Find(t.Context(), ref, platform(t, ""), false)
			if err == nil { // the store reads the manifest
				_, err = store.Open(t.TempDir()).Add(t.Context(), src, nil, nil)
			}
			filled := func(s string) string { return strings.ReplaceAll(s, "HOST", test.host) }
			if err == nil || !strings.Contains(err.Error(), filled(test.err)) {
				t.Fatalf("got %v, want %s", err, filled(test.err))
			}
			var own *Error
			if test.hint != "" && (!errors.As(err, &own) || !strings.Contains(own.Hint, filled(test.hint))) {
				t.Errorf("the hint of %v is not %s", own, filled(test.hint))
			}
			if test.hint != "" && !strings.HasPrefix(err.Error(), "pull "+test.host+"/app:1: ") {
				t.Errorf("it does not say what was pulled: %v", err)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	at, err := name.ParseReference(host + "/app")
	if err != nil {
		t.Fatal(err)
	}
	i := imagetest.Image(t, v1.Config{})
	if err := remote.Write(at, i, remote.WithTransport(server.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(certs, host), 0o755); err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(certs, host, "ca.crt"), authority, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		client Client
		ok     bool
	}{
		"strict": {Client{Backoff: quick}, false}, "insecure": {Client{Insecure: true}, true}, "authority": {Client{CertDirs: []string{certs}}, true},
	} {
		_, err := test.client.Find(t.Context(), reference(t, host+"/app"), platform(t, ""), false)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(certs, host, "ca.crt"), []byte("junk"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Client{CertDirs: []string{certs}}.Find(t.Context(), reference(t, host+"/app"), platform(t, ""), false)
	if err == nil || !strings.Contains(err.Error(), "ca.crt: no certificate in it") {
		t.Errorf("got %v", err)
	}
}

// Plain HTTP is for this machine, whatever address another one has.
func TestPlainHTTP(t *testing.T) {
	for url, allowed := range map[string]bool{
		"http://127.0.0.1:1/": true, "http://[::1]:1/": true, "http://localhost:1/": true,
		"http://192.168.1.1/": false, "http://registry.local/": false, "http://10.0.0.1:5000/": false, "https://10.0.0.1/": true,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked := false
		next := roundTrip(func(*http.Request) (*http.Response, error) { asked = true; return nil, errors.New("asked") })
		_, err = httpsOnly{next}.RoundTrip(r) //nolint:bodyclose // there is no response
		if asked != allowed || !allowed && !errors.Is(err, errPlain) {
			t.Errorf("%s: asked %v, %v", url, asked, err)
		}
	}
}

// With Insecure nothing stands between a request and the network.
func TestInsecureIsTheUsersWord(t *testing.T) {
	for insecure, guarded := range map[bool]bool{true: false, false: true} {
		transport, err := Client{Insecure: insecure}.transport("registry.local")
		if err != nil {
			t.Fatal(err)
		}
		if _, is := transport.(httpsOnly); is != guarded {
			t.Errorf("insecure %v: plain HTTP is refused: %v", insecure, is)
		}
	}
}

// What registries kept before 2017.
func TestSchema1IsRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
			io.WriteString(w, `{"schemaVersion":1}`)
		}
	}))
	t.Cleanup(server.Close)
	_, err := Client{Backoff: quick}.Find(t.Context(), reference(t, strings.TrimPrefix(server.URL, "http://")+"/app:1"), platform(t, ""), false)
	if err == nil || !strings.Contains(err.Error(), "schema 1), which is not supported") {
		t.Errorf("got %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Credentials are those of docker's configuration file.
func TestCredentials(t *testing.T) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	ref := reference(t, host+"/app")
	_, err := Client{}.Find(t.Context(), ref, platform(t, ""), false)
	if err == nil || !strings.Contains(err.Error(), "needs a login") {
		t.Errorf("without: %v", err)
	}
	config := fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"secret"}}}`, host)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	imagetest.Push(t, host+"/app", imagetest.Image(t, v1.Config{}))
	if _, err := (Client{}).Find(t.Context(), ref, platform(t, ""), false); err != nil {
		t.Errorf("with: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Client{}).Find(ctx, reference(t, strings.TrimPrefix(server.URL, "http://")+"/app"), platform(t, ""), false); err == nil {
		t.Error("no error")
	}
}

// deadEnd answers every request with an error and counts them.
type deadEnd struct {
	err   error
	asked int
}

func (d *deadEnd) RoundTrip(*http.Request) (*http.Response, error) {
	d.asked++
	return nil, d.err
}

// TestDialOnce: what can't be reached is tried once, what broke on the way again. The
// library asks with https and, for a loopback address, with http.
func TestDialOnce(t *testing.T) {
	timeout := &net.DNSError{Err: "i/o timeout", Name: "registry.example", Server: "192.0.2.1:53", IsTimeout: true}
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"no name server":   {&net.OpError{Op: "dial", Err: timeout}, 1},
		"broken in action": {&net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}, quick.Steps},
	} {
		end := &deadEnd{err: test.err}
		ref := reference(t, "registry.example/app:1")
		puller, err := remote.NewPuller(remote.WithTransport(dialOnce{end}), remote.WithRetryBackoff(quick))
		if err != nil {
			t.Fatal(err)
		}
		_, err = puller.Get(t.Context(), ref.Name())
		if !errors.Is(err, test.err) || end.asked != test.want {
			t.Errorf("%s: asked %d times, want %d: %v", name, end.asked, test.want, err)
		}
		want := "no name server says where registry.example is (192.0.2.1:53: i/o timeout)"
		if err := (Client{}).explain(ref, err); test.want == 1 && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
