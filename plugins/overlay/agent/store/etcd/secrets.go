package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"google.golang.org/grpc/credentials"
)

// Certificates and passwords are exchanged from time to time, and a program that
// runs for years has to notice: overlayd reads the files again, and needs not be
// started again on every host.

// password is what the file says now.
func (s *Store) password() (string, error) {
	if s.config.User == "" {
		return "", nil
	}
	data, err := os.ReadFile(s.config.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("etcd store: passwordFile: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// refused gives a client up whose password etcd does not accept any more, if the
// file has another one by now: the library logs in again with what it was given
// at first. What the client was busy with ends with it, and is begun anew.
func (s *Store) refused(err error) {
	if !denied(err) {
		return
	}
	password, err := s.password()
	if err != nil {
		s.log.Warn("etcd does not accept the password, and it can't be read again", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil || password == s.secret {
		return
	}
	s.log.Info("etcd does not accept the password any more, and the file has another one: connecting anew")
	_ = s.client.Close()
	s.client = nil
}

func denied(err error) bool {
	return slices.ContainsFunc([]error{rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty},
		func(e error) bool { return errors.Is(rpctypes.Error(err), e) })
}

// tls gives nil where nothing was configured: the endpoints' scheme decides then.
func (s *Store) tls() (*tls.Config, error) {
	if s.config.CA == "" && s.config.Cert == "" {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: s.config.CA, CertFile: s.config.Cert, KeyFile: s.config.Key}
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("etcd store: ca, cert or key: %w", err)
	}
	return config, nil
}

// plain tells whether an endpoint is one that TLS is not spoken with, whatever is
// configured: the library's rule.
func plain(endpoint string) bool {
	return strings.HasPrefix(endpoint, "http://") || strings.HasPrefix(endpoint, "unix:")
}

// certificates are a connection's credentials that read the files each time.
type certificates struct {
	credentials.TransportCredentials // as they were at the start
	read                             func() (*tls.Config, error)
}

// ClientHandshake is credentials.TransportCredentials'.
func (c certificates) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.read()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// Clone is credentials.TransportCredentials'.
func (c certificates) Clone() credentials.TransportCredentials {
	return certificates{c.TransportCredentials.Clone(), c.read}
}
