// Package etcdtest runs real etcd servers for tests, and breaks the way to
// them. A server listens on a socket in its own folder and nowhere else;
// clients reach it over a Path, a port of the loopback address that can be cut
// or frozen.
package etcdtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// patience bounds every wait for a server.
const patience = 30 * time.Second

// A Server is one etcd process (Debian's etcd-server) and its data.
type Server struct {
	dir     string
	process *exec.Cmd
	tls     *Certificates
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, nil)
}

// StartTLS runs a server that talks to clients with a certificate only.
func StartTLS(t testing.TB) (*Server, *Certificates) {
	t.Helper()
	c := newCertificates(t)
	return start(t, c), c
}

func start(t testing.TB, c *Certificates) *Server {
	t.Helper()
	// A socket's name holds 107 bytes; a test's own folder can be longer.
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, tls: c}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(dir)
	})
	s.Run(t)
	return s
}

const (
	// A socket's name must look like a host and a port; certificates name the host.
	socketName   = "client"
	clientSocket = socketName + ":1"
	peerSocket   = "peer:1"
)

// Run starts the process on the data that are there, and waits until it answers.
// With a password on, user and password are somebody's who may read.
func (s *Server) Run(t testing.TB, login ...string) {
	t.Helper()
	for _, name := range []string{clientSocket, peerSocket} {
		_ = os.Remove(filepath.Join(s.dir, name)) // a killed process leaves them
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	scheme, secure := "unix://", []string(nil)
	if s.tls != nil {
		scheme, secure = "unixs://", []string{"--client-cert-auth", "--trusted-ca-file", s.tls.CA, "--cert-file", s.tls.Cert, "--key-file", s.tls.Key}
	}
	s.process = exec.Command("etcd", append(secure, "--name", "a", "--data-dir", s.DataDir(), "--unsafe-no-fsync",
		"--listen-client-urls", scheme+clientSocket, "--advertise-client-urls", scheme+clientSocket,
		"--listen-peer-urls", "unix://"+peerSocket, "--initial-advertise-peer-urls", "unix://"+peerSocket,
		"--initial-cluster", "a=unix://"+peerSocket)...)
	s.process.Dir, s.process.Stdout, s.process.Stderr = s.dir, log, log
	if err := s.process.Start(); err != nil {
		t.Fatalf("start etcd (package etcd-server): %v", err)
	}
	client := s.ClientOf(t, login...)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := client.Get(ctx, "started"); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("etcd does not answer: %v\n%s", err, text)
	}
}

// Kill ends the process at once, as a power cut does. The data stay.
func (s *Server) Kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
}

// DataDir is where the data are. Copy it while the process is not running.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// Socket is the path of the socket that the server listens on.
func (s *Server) Socket() string { return filepath.Join(s.dir, clientSocket) }

// Client connects straight to the server. The caller closes it.
func (s *Server) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	return s.ClientOf(t)
}

// ClientOf is Client for a user with a password.
func (s *Server) ClientOf(t testing.TB, login ...string) *clientv3.Client {
	t.Helper()
	config := clientv3.Config{Endpoints: []string{"unix://" + s.Socket()}, Logger: zap.NewNop(), DialTimeout: patience}
	if len(login) == 2 {
		config.Username, config.Password = login[0], login[1]
	}
	if s.tls != nil {
		config.Endpoints = []string{"unixs://" + s.Socket()}
		config.TLS = s.tls.client(t)
	}
	client, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// ReadAll reads all values below a prefix with a bare client that makes nothing
// of them: the floor for whoever has to know everything.
func ReadAll(ctx context.Context, endpoint, prefix string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Get(ctx, prefix, clientv3.WithPrefix())
	return err
}
