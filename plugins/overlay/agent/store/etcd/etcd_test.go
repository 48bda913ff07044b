package etcd_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// open connects over a path. The cluster is the test's own.
func open(t *testing.T, p *etcdtest.Path, seconds int64) *etcd.Store {
	t.Helper()
	s, err := etcd.Open(t.Context(), etcd.Config{
		Endpoints: []string{p.Endpoint()}, SessionSeconds: seconds, Prefix: "/netctl/v1/" + t.Name(),
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// world makes clusters in one server, with a store for each node.
func world(path *etcdtest.Path) storetest.World {
	return func(t *testing.T, network store.Network, nodes []store.Node) []store.Store {
		var stores []store.Store
		for range nodes {
			stores = append(stores, open(t, path, 0))
		}
		if _, err := stores[0].CreateNetwork(t.Context(), network); err != nil {
			t.Fatal(err)
		}
		return stores
	}
}

func TestContract(t *testing.T) {
	w := world(etcdtest.Start(t).Path(t))
	storetest.Run(t, w)
	storetest.RunClaims(t, w)
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		config etcd.Config
		says   string
	}{
		{"no endpoint", etcd.Config{}, "endpoints is empty"},
		{"relative prefix", etcd.Config{Endpoints: []string{"x"}, Prefix: "netctl"}, `prefix "netctl"`},
		{"prefix with a slash behind", etcd.Config{Endpoints: []string{"x"}, Prefix: "/netctl/"}, `prefix "/netctl/"`},
		{"half a certificate", etcd.Config{Endpoints: []string{"x"}, Cert: "c.pem"}, "cert and key go together"},
		{"password of nobody", etcd.Config{Endpoints: []string{"x"}, PasswordFile: "p"}, "without user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := etcd.Open(t.Context(), c.config, quiet()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Open says %v, want %q", err, c.says)
			}
		})
	}
}
