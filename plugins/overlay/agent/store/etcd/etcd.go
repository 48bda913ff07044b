// Package etcd keeps an overlay's agreement in etcd (version 3 of its protocol,
// servers from 3.4 on).
//
// Below the prefix, which names the cluster, the keys are (keys.go):
//
//	config                       Cluster
//	net/<name>                   Network
//	netid/<group>                the network's name: makes group IDs unique
//	pool/<net>/<base>-<len>      who owns the pool; the base in hexadecimal, so
//	                             that the order of keys is that of addresses
//	node/<id>                    Node: all that a peer needs
//	vtep/<address>               the node's ID: one owner per tunnel address
//	live/<id>                    Liveness, under the session's lease
//	tomb/<id>                    Tombstone
//	pause                        who was reclaimed lately, under a lease: others
//	                             wait until it has expired
//	dns/<net>/<node>/<container> Names, under the session's lease
//
// That a pool's key exists is its ownership; the revision at which it was made
// is the fencing token. Nothing but live/, dns/ and pause is under a lease.
// A node's vtep/ keys are written again with each session, so that their
// revision tells when it was last here; nobody watches them. Every write
// compares the revision of each key that it was decided on.
//
// A host that joins makes five calls, however many others there are: one
// transaction that reads everything (register.go), a lease, one transaction
// that enters the node and claims its pools, the stream that keeps the lease
// alive, and the stream of changes, which goes on from what was read.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// DefaultPrefix is where a cluster that has no other name keeps its keys.
const DefaultPrefix = "/netctl/v1/default"

// Config says where etcd is and how to get in.
type Config struct {
	Endpoints []string `json:"endpoints"`
	// Prefix of all keys, without a slash at its end; "" is DefaultPrefix.
	Prefix string `json:"prefix,omitempty"`
	// User and the file that holds the password, read again when etcd refuses it.
	User         string `json:"user,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	// CA, Cert and Key are PEM files, read at each connection. Without CA the
	// system's are trusted for https endpoints.
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// SessionSeconds is how long a node counts as alive that does not say so;
	// 0 is 30.
	SessionSeconds int64 `json:"sessionSeconds,omitempty"`
}

const (
	// callWait bounds every call: one that takes longer will not be answered.
	callWait = 5 * time.Second
	// The connection is probed every keepAlive; without it a half-open one is
	// noticed by the kernel after two hours.
	keepAlive        = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	// maxBackoff bounds the wait between two attempts to connect. The library's
	// own bound of 120 s keeps a recovered server waiting.
	maxBackoff     = 2 * time.Second
	defaultSession = 30
)

// A Store is a connection to etcd, made when it is first needed.
type Store struct {
	config Config
	log    *slog.Logger
	// progress is how often a silent stream is asked how far it is: a store that
	// was put back to a backup shows by it.
	progress time.Duration

	// newest is the highest revision that was heard of.
	newest atomic.Int64
	conns  *connections

	mu     sync.Mutex
	client *clientv3.Client
	secret string // the client's password
}

var _ store.Store = (*Store)(nil)

// Open checks the configuration. It does not connect: a server that is down is
// reported by the calls that need it.
func Open(_ context.Context, c Config, log *slog.Logger) (*Store, error) {
	if len(c.Endpoints) == 0 {
		return nil, errors.New("etcd store: endpoints is empty: name at least one, such as https://192.0.2.1:2379")
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if !strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/") {
		return nil, fmt.Errorf("etcd store: prefix %q must begin with a slash and not end with one", c.Prefix)
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("etcd store: cert and key go together: one of them is missing")
	}
	if c.PasswordFile != "" && c.User == "" {
		return nil, errors.New("etcd store: passwordFile is given without user")
	}
	if c.SessionSeconds == 0 {
		c.SessionSeconds = defaultSession
	}
	return &Store{config: c, log: log, progress: progressEvery, conns: newConnections()}, nil
}

// Kind is "etcd".
func (s *Store) Kind() string { return "etcd" }

// Can do everything.
func (s *Store) Can() store.Abilities {
	return store.Abilities{Records: true, Claims: true, Networks: true, Liveness: true, Names: true}
}

// Close ends the connection.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	client := s.client
	s.client = nil
	return client.Close()
}

// connection gives the client, and makes it if there is none yet: with a
// password the library asks the server for a token before it returns.
func (s *Store) connection() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	config, err := s.clientConfig()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, s.failed("connect", err)
	}
	s.client, s.secret = client, config.Password
	return client, nil
}

func (s *Store) clientConfig() (clientv3.Config, error) {
	c := clientv3.Config{
		Endpoints:            s.config.Endpoints,
		DialTimeout:          callWait, // bounds the request for a token only
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream:  true,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithStatsHandler(s.conns), grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: maxBackoff,
		})},
	}
	var err error
	if c.TLS, err = s.tls(); err != nil {
		return c, err
	}
	if c.TLS != nil && !plain(s.config.Endpoints[0]) {
		c.DialOptions = append(c.DialOptions, grpc.WithTransportCredentials(certificates{credentials.NewTLS(c.TLS), s.tls}))
	}
	c.Username = s.config.User
	c.Password, err = s.password()
	return c, err
}
