package etcd_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// TestSecretsAreExchanged: a password that was changed, and certificates of another
// authority, are read from the files without a restart; a session goes on with its
// lease, and who follows hears of those who came meanwhile.
func TestSecretsAreExchanged(t *testing.T) {
	t.Parallel()
	server, files := etcdtest.StartTLS(t)
	path := server.Path(t)
	ctx := t.Context()
	root := server.Client(t)
	_, err1 := root.RoleAdd(ctx, "root")
	_, err2 := root.UserAdd(ctx, "root", "secret")
	_, err3 := root.UserAdd(ctx, "overlayd", "first")
	_, err4 := root.UserGrantRole(ctx, "root", "root")
	_, err5 := root.UserGrantRole(ctx, "overlayd", "root")
	_, err6 := root.AuthEnable(ctx)
	_ = root.Close()
	password := filepath.Join(t.TempDir(), "password")
	if err := errors.Join(err1, err2, err3, err4, err5, err6, os.WriteFile(password, []byte("first"), 0o600)); err != nil {
		t.Fatal(err)
	}
	config := etcd.Config{Endpoints: []string{path.Endpoint()}, User: "overlayd", PasswordFile: password, CA: files.CA, Cert: files.Cert, Key: files.Key}
	s, err := etcd.Open(ctx, config, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := store.Registration{Node: storetest.Nodes(1)[0], Boot: "b"}
	session, err := s.Session(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Takeover = session.ID()

	admin := server.ClientOf(t, "root", "secret")
	if _, err := admin.UserChangePassword(ctx, "overlayd", "second"); err != nil {
		t.Fatal(err)
	}
	_ = admin.Close()
	if _, err := s.Alive(ctx); err == nil || errors.Is(err, store.ErrUnreachable) {
		t.Errorf("with the old password: %v", err)
	}
	if err := os.WriteFile(password, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	soon(t, "with the new password", func() error { _, err := s.Alive(ctx); return err })

	server.Kill()
	files.Exchange(t)
	server.Run(t, "root", "secret")
	soon(t, "with new certificates", func() error { _, err := s.Alive(ctx); return err })
	again, err := s.Session(ctx, r)
	if err != nil || again.ID() != session.ID() {
		t.Fatalf("the session does not go on: %v", err)
	}
	_ = again.Close(ctx, false)
}

// soon repeats what may fail once or twice: what was being done with the old
// secret.
func soon(t *testing.T, when string, fn func() error) {
	t.Helper()
	for deadline := time.Now().Add(storetest.Patience); ; time.Sleep(20 * time.Millisecond) {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", when, err)
		}
	}
}

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
