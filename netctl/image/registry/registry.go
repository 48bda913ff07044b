// Package registry finds images in registries. Credentials come from where
// docker and podman keep them, certificates from docker's directories, and
// plain HTTP is for registries on the loopback interface only, unless the user
// says otherwise.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/netctl/netctl/netctl/image"
)

// Client asks registries. The zero value is strict about TLS.
type Client struct {
	// Insecure accepts any certificate, and plain HTTP from any host.
	Insecure  bool
	UserAgent string
	// CertDirs hold a directory HOST[:PORT] for each registry with a
	// certificate authority (*.crt) or client certificates (*.cert, *.key).
	CertDirs []string
	// Backoff between attempts after what may pass; the zero value means 1 s,
	// then 3 s, then no more.
	Backoff remote.Backoff
}

// DefaultCertDirs are docker's and podman's.
func DefaultCertDirs() []string { return []string{"/etc/docker/certs.d", "/etc/containers/certs.d"} }

// connectTimeout for a registry that doesn't answer at all.
const connectTimeout = 15 * time.Second

// Find looks ref up and chooses the image for the platform, if there are
// several. exact refuses one made for another platform.
func (c Client) Find(ctx context.Context, ref image.Reference, want v1.Platform, exact bool) (image.Source, error) {
	src, err := c.find(ctx, ref, want, exact)
	if err != nil {
		return src, c.explain(ref, err)
	}
	return src, nil
}

func (c Client) find(ctx context.Context, ref image.Reference, want v1.Platform, exact bool) (image.Source, error) {
	at, err := c.nameOf(ref)
	if err != nil {
		return image.Source{}, err
	}
	puller, err := c.puller(ref)
	if err != nil {
		return image.Source{}, err
	}
	found, err := puller.Get(ctx, at)
	if err != nil {
		return image.Source{}, err
	}
	src := image.Source{Manifest: found.Manifest, Digest: found.Digest}
	src.Open = func(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
		l, err := puller.Layer(ctx, at.Context().Digest(d.Digest.String()))
		if err != nil {
			return nil, c.explain(ref, err)
		}
		r, err := l.Compressed()
		if err != nil {
			return nil, c.explain(ref, err)
		}
		return r, nil
	}
	if found.MediaType.IsSchema1() {
		return src, errors.New("it is in the format of before 2017 (schema 1), which is not supported")
	}
	if !found.MediaType.IsIndex() {
		return src, fitting(ctx, src, want, exact)
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(string(found.Manifest)))
	if err != nil {
		return src, err
	}
	chosen, err := image.Choose(index, want)
	if err != nil {
		return src, err
	}
	one, err := puller.Get(ctx, at.Context().Digest(chosen.Digest.String()))
	if err != nil {
		return src, err
	}
	src.Manifest = one.Manifest
	return src, nil
}

// fitting compares a single image's platform.
func fitting(ctx context.Context, src image.Source, want v1.Platform, exact bool) error {
	if !exact {
		return nil
	}
	m, err := v1.ParseManifest(strings.NewReader(string(src.Manifest)))
	if err != nil {
		return err
	}
	r, err := src.Open(ctx, m.Config)
	if err != nil {
		return err
	}
	defer r.Close()
	config, err := v1.ParseConfigFile(io.LimitReader(r, 4<<20))
	if err != nil {
		return fmt.Errorf("configuration %s: %w", m.Config.Digest, err)
	}
	if has := image.PlatformOf(config); !image.Fits(has, want) {
		return fmt.Errorf("it is for platform %s, not %s", has, want)
	}
	return nil
}

func (c Client) nameOf(ref image.Reference) (name.Reference, error) {
	if !c.Insecure {
		return ref.Name(), nil
	}
	return name.ParseReference(ref.Name().Name(), name.Insecure)
}

func (c Client) puller(ref image.Reference) (*remote.Puller, error) {
	transport, err := c.transport(ref.Registry())
	if err != nil {
		return nil, err
	}
	options := []remote.Option{
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(transport), remote.WithUserAgent(c.UserAgent),
	}
	if c.Backoff.Steps > 0 {
		options = append(options, remote.WithRetryBackoff(c.Backoff))
	}
	return remote.NewPuller(options...)
}

func (c Client) transport(host string) (http.RoundTripper, error) {
	base, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the library's transport has changed")
	}
	t := base.Clone()
	t.DialContext = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = time.Minute
	conf, err := c.certificates(host)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = conf
	if c.Insecure {
		return dialOnce{t}, nil
	}
	return httpsOnly{dialOnce{t}}, nil
}

// dialOnce sees that a connection which can't be had is not tried for again: the
// resolver has asked twice by then and the kernel has sent its packets again, and three
// times that is more than half a minute in which nothing is said.
type dialOnce struct{ next http.RoundTripper }

func (d dialOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.next.RoundTrip(r)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return answer, settled{err}
	}
	return answer, err
}

// settled is an error that does not say of itself that it may pass (Temporary).
type settled struct{ err error }

func (s settled) Error() string { return s.err.Error() }
func (s settled) Unwrap() error { return s.err }

// httpsOnly refuses plain HTTP but for this machine: the library would also
// take it from hosts with private addresses, on whose network others may sit.
type httpsOnly struct{ next http.RoundTripper }

var errPlain = errors.New("it speaks plain HTTP only")

func (h httpsOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !isLoopback(r.URL.Hostname()) {
		return nil, errPlain
	}
	return h.next.RoundTrip(r)
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// certificates is the TLS configuration for a registry.
func (c Client) certificates(host string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Insecure} //nolint:gosec // the user's word
	for _, dir := range c.CertDirs {
		if err := addCertificates(conf, dir, host); err != nil {
			return nil, err
		}
	}
	return conf, nil
}
