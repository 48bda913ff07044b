package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/netctl/netctl/netctl/image"
)

// Error is why an image could not be had from a registry, in one line, and
// what can be done about it.
type Error struct {
	Image image.Reference
	Err   error
	Hint  string
}

func (e *Error) Error() string { return fmt.Sprintf("pull %s: %s", e.Image, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// explain says in the user's terms what a registry or the way to it answered.
func (c Client) explain(ref image.Reference, err error) error {
	var done *Error
	var status *transport.Error
	switch {
	case errors.As(err, &done), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &status) && !aboutCertificates(err):
		return c.explainStatus(ref, status)
	}
	return c.explainNetwork(ref, err)
}

// aboutCertificates: the library tries a loopback registry both ways, and its
// answer to plain HTTP is not what matters then.
func aboutCertificates(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification)
}

func (c Client) explainStatus(ref image.Reference, err *transport.Error) error {
	host := ref.Registry()
	e := &Error{Image: ref}
	has := func(code transport.ErrorCode) bool {
		for _, d := range err.Errors {
			if d.Code == code {
				return true
			}
		}
		return false
	}
	switch {
	case err.StatusCode == http.StatusTooManyRequests || has(transport.TooManyRequestsErrorCode):
		e.Err = fmt.Errorf("registry %s allows no more pulls for now (rate limit)", host)
		e.Hint = fmt.Sprintf("wait, or log in: 'docker login %s' or 'podman login %s' leave credentials where they are found", host, host)
	case err.StatusCode == http.StatusUnauthorized, err.StatusCode == http.StatusForbidden:
		e.Err = fmt.Errorf("registry %s refuses access to %s: it does not exist or needs a login", host, ref.Repository())
		e.Hint = fmt.Sprintf("check the name; 'docker login %s' or 'podman login %s' leave credentials where they are found", host, host)
	case err.StatusCode == http.StatusNotFound && has(transport.NameUnknownErrorCode):
		e.Err = fmt.Errorf("registry %s has no repository %s", host, ref.Repository())
		e.Hint = "check the name"
	case err.StatusCode == http.StatusNotFound:
		e.Err = fmt.Errorf("registry %s has no such image", host)
		e.Hint = "check the name and the tag"
	default:
		e.Err = fmt.Errorf("registry %s answers %d %s", host, err.StatusCode, http.StatusText(err.StatusCode))
		if len(err.Errors) > 0 && err.Errors[0].Message != "" {
			e.Err = fmt.Errorf("%w: %s", e.Err, err.Errors[0].Message)
		}
		e.Hint = "try again later"
	}
	return e
}

func (c Client) explainNetwork(ref image.Reference, err error) error {
	host := ref.Registry()
	e := &Error{Image: ref, Err: err}
	var (
		dns       *net.DNSError
		unknown   x509.UnknownAuthorityError
		wrongName x509.HostnameError
		invalid   x509.CertificateInvalidError
		noTLS     tls.RecordHeaderError
		timeout   net.Error
	)
	insecure := "; --tls-verify=false does without"
	switch {
	case errors.As(err, &dns) && !dns.IsNotFound:
		e.Err = fmt.Errorf("registry %s can't be reached: no name server says where %s is (%s: %s)", host, dns.Name, dns.Server, dns.Err)
		e.Hint = "check this machine's network, and the name servers in /etc/resolv.conf"
	case errors.As(err, &dns):
		e.Err = fmt.Errorf("registry %s can't be reached: the name %s does not resolve", host, dns.Name)
		e.Hint = "check the name, and /etc/resolv.conf"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		e.Err = fmt.Errorf("registry %s: nobody we trust has signed its certificate", host)
		e.Hint = fmt.Sprintf("put its authority's certificate into /etc/docker/certs.d/%s/ca.crt%s", host, insecure)
	case errors.As(err, &wrongName):
		e.Err = fmt.Errorf("registry %s: its certificate is another host's", host)
		e.Hint = "use the name in the certificate" + insecure
	case errors.Is(err, errPlain), errors.As(err, &noTLS):
		e.Err = fmt.Errorf("registry %s: %w, which is accepted on the loopback interface only", host, errPlain)
		e.Hint = "if its network is to be trusted, --tls-verify=false accepts it"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Err = fmt.Errorf("registry %s can't be reached: connection refused", host)
		e.Hint = "is it running, and is this its port?"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Err = fmt.Errorf("registry %s can't be reached: no route to it", host)
		e.Hint = "check this machine's network and proxy"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Err = fmt.Errorf("registry %s does not answer", host)
		e.Hint = "check this machine's network and proxy"
	}
	return e
}
