package netctl

import (
	"context"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/netctl/netctl/netctl/plumbing"

	"github.com/netctl/netctl/dnsd/client"
)

// removeContainers ends what a script that failed has left running. It runs on
// the script's own thread, in its network namespace.
func removeContainers(env *testscript.Env) {
	app := &App{Setting: plumbing.Setting{StateDir: env.Getenv("STATE"), DataDir: env.Getenv("DATA"), ConfDir: env.Getenv("CONF")}, Log: silent()}
	all := containers{app}.all()
	list, err := all.List(context.Background())
	if err != nil {
		env.T().Log(err)
	}
	for _, rec := range list {
		if err := all.Remove(context.Background(), &rec, true); err != nil {
			env.T().Log(err)
		}
	}
	if err := client.Quit(context.Background(), app.StateDir); err != nil {
		env.T().Log(err)
	}
}

func TestParseDetachKeys(t *testing.T) {
	for text, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11", "a": "a", "ctrl-@": "\x00", "ctrl-a,b": "\x01b", "": "", "ctrl-_": "\x1f",
	} {
		if got, err := parseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"ctrl-", "ab", ",", "ctrl-1", "ctrl-A"} {
		if got, err := parseDetachKeys(text); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}
