package etcd_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// TestSecure: a server that asks for a certificate and a password is served
// with both, and refuses without either; it may also be down at first.
func TestSecure(t *testing.T) {
	t.Parallel()
	server, files := etcdtest.StartTLS(t)
	path := server.Path(t)
	root := server.Client(t)
	defer root.Close()
	ctx := t.Context()
	_, err1 := root.RoleAdd(ctx, "root")
	_, err2 := root.UserAdd(ctx, "root", "secret")
	_, err3 := root.UserGrantRole(ctx, "root", "root")
	_, err4 := root.AuthEnable(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := etcd.Config{
		Endpoints: []string{path.Endpoint()}, User: "root", PasswordFile: password, CA: files.CA, Cert: files.Cert, Key: files.Key,
	}
	list := func(c etcd.Config) error {
		s, err := etcd.Open(ctx, c, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.Alive(ctx)
		return err
	}
	write("wrong")
	if err := list(good); err == nil || errors.Is(err, store.ErrUnreachable) {
		t.Errorf("with a wrong password: %v", err)
	}
	write("secret\n")
	for what, c := range map[string]etcd.Config{
		"without a password":    {Endpoints: good.Endpoints, CA: files.CA, Cert: files.Cert, Key: files.Key},
		"without a certificate": {Endpoints: good.Endpoints, User: "root", PasswordFile: password, CA: files.CA},
	} {
		if err := list(c); err == nil {
			t.Errorf("%s the server answers", what)
		}
	}

	path.Cut()
	s, err := etcd.Open(ctx, good, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Alive(ctx); !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("with the server down: %v", err)
	}
	path.Heal()
	session, err := s.Session(ctx, store.Registration{Node: storetest.Nodes(1)[0], Boot: "b"})
	if err != nil {
		t.Fatalf("with certificate and password: %v", err)
	}
	_ = session.Close(ctx, false)
}
