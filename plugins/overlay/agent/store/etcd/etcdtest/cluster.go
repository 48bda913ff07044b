package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// A Place is where a member of a cluster runs: its address, and a function
// that runs another one there, in a network namespace.
type Place struct {
	Addr netip.Addr
	Do   func(func() error) error
}

// A Cluster is servers that agree, and speak TLS to each other and to clients.
// A user has a password and may write the overlay's keys, nobody else may.
type Cluster struct {
	Files    *Certificates
	User     string
	Password string
	members  []*member
	dir      string
	cluster  string
	token    string
}

type member struct {
	place   Place
	name    string
	process *exec.Cmd
}

// StartCluster starts a member at each place until the test ends, and turns
// authentication on. prefix is what the user may read and write.
func StartCluster(t testing.TB, prefix string, places ...Place) *Cluster {
	t.Helper()
	var ips []net.IP
	for _, p := range places {
		ips = append(ips, p.Addr.AsSlice())
	}
	c := &Cluster{Files: newCertificates(t, ips...), User: "overlayd", Password: "secret", dir: t.TempDir(), token: filepath.Base(t.TempDir())}
	var parts []string
	for i, p := range places {
		m := &member{place: p, name: fmt.Sprintf("m%d", i)}
		c.members = append(c.members, m)
		parts = append(parts, m.name+"="+p.url(2380))
	}
	c.cluster = strings.Join(parts, ",")
	t.Cleanup(func() {
		for i := range c.members {
			c.Kill(i)
		}
	})
	for i := range c.members {
		c.Run(t, i)
	}
	c.authenticate(t, prefix)
	return c
}

func (p Place) url(port uint16) string {
	return "https://" + netip.AddrPortFrom(p.Addr, port).String()
}

// Endpoints are where clients reach the members.
func (c *Cluster) Endpoints() (all []string) {
	for _, m := range c.members {
		all = append(all, m.place.url(2379))
	}
	return all
}

// Run starts a member on the data that are there.
func (c *Cluster) Run(t testing.TB, i int) {
	t.Helper()
	m := c.members[i]
	log, err := os.OpenFile(filepath.Join(c.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m.process = exec.Command("etcd", "--name", m.name, "--data-dir", filepath.Join(c.dir, m.name), "--unsafe-no-fsync",
		"--listen-client-urls", m.place.url(2379), "--advertise-client-urls", m.place.url(2379),
		"--listen-peer-urls", m.place.url(2380), "--initial-advertise-peer-urls", m.place.url(2380),
		"--initial-cluster", c.cluster, "--initial-cluster-token", c.token, "--log-level", "error",
		"--client-cert-auth", "--trusted-ca-file", c.Files.CA, "--cert-file", c.Files.Cert, "--key-file", c.Files.Key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file", c.Files.CA, "--peer-cert-file", c.Files.Cert, "--peer-key-file", c.Files.Key)
	m.process.Stdout, m.process.Stderr = log, log
	if err := m.place.Do(m.process.Start); err != nil {
		t.Fatalf("start etcd (package etcd-server): %v", err)
	}
}

// Kill ends a member at once, as a power cut does. Its data stay.
func (c *Cluster) Kill(i int) {
	if m := c.members[i]; m.process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
		m.process = nil
	}
}

// Leader tells which member the others follow.
func (c *Cluster) Leader(t testing.TB) int {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		client, err := c.client(t, "root")
		if err != nil {
			continue // who logs in while a leader is chosen is refused
		}
		defer client.Close()
		for i, m := range c.members {
			if m.process == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			status, err := client.Status(ctx, m.place.url(2379))
			cancel()
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				return i
			}
		}
	}
	t.Fatal("the cluster has no leader")
	return 0
}

// authenticate makes the user, and closes the cluster to everybody else.
func (c *Cluster) authenticate(t testing.TB, prefix string) {
	t.Helper()
	client, err := c.client(t, "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	end := clientv3.GetPrefixRangeEnd(prefix)
	var errs []error
	for _, step := range []func() error{
		func() error { _, err := client.RoleAdd(ctx, "root"); return err },
		func() error { _, err := client.UserAdd(ctx, "root", c.Password); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.RoleAdd(ctx, "overlay"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "overlay", prefix, end, clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, c.User, c.Password); return err },
		func() error { _, err := client.UserGrantRole(ctx, c.User, "overlay"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		errs = append(errs, step())
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("turn authentication on: %v", err)
	}
}

func (c *Cluster) client(t testing.TB, user string) (*clientv3.Client, error) {
	t.Helper()
	config := clientv3.Config{Endpoints: c.Endpoints(), TLS: c.Files.client(t), Logger: zap.NewNop(), DialTimeout: patience,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(c.dial)}}
	if user != "" {
		config.Username, config.Password = user, c.Password
	}
	return clientv3.New(config)
}

// dial connects from where the members are.
func (c *Cluster) dial(ctx context.Context, address string) (conn net.Conn, err error) {
	address = strings.TrimPrefix(address, "https://")
	err = c.members[0].place.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}
