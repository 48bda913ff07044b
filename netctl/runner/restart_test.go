package runner

import (
	"testing"
	"time"
)

func TestRestartPolicy(t *testing.T) {
	for text, want := range map[string]RestartPolicy{
		"": {}, "no": {}, "always": {When: RestartAlways}, "unless-stopped": {When: RestartUnlessStopped},
		"on-failure": {When: RestartOnFailure}, "on-failure:3": {When: RestartOnFailure, MaxRetries: 3},
	} {
		got, err := ParseRestartPolicy(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseRestartPolicy(got.String()); err != nil || again != got {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for _, text := range []string{"never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x", "Always"} {
		if got, err := ParseRestartPolicy(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestRestartAgain(t *testing.T) {
	for _, c := range []struct {
		policy         string
		code, restarts int
		again          bool
		boot, stopped  bool // after a boot, untouched and stopped by somebody
	}{
		{"no", 1, 0, false, false, false},
		{"always", 0, 99, true, true, true},
		{"unless-stopped", 0, 99, true, true, false},
		{"on-failure", 0, 0, false, false, false},
		{"on-failure", 1, 99, true, false, false},
		{"on-failure:2", 1, 1, true, false, false},
		{"on-failure:2", 1, 2, false, false, false},
	} {
		p, err := ParseRestartPolicy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Again(c.code, c.restarts); got != c.again {
			t.Errorf("%s after %d and %d restarts: %v", c.policy, c.code, c.restarts, got)
		}
		if p.AfterBoot(false) != c.boot || p.AfterBoot(true) != c.stopped {
			t.Errorf("%s after a boot", c.policy)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	for i, want := range []time.Duration{100, 200, 400, 800, 1600} {
		if got := b.Next(time.Second); got != want*time.Millisecond {
			t.Errorf("%d: %v", i, got)
		}
	}
	for range 20 {
		if got := b.Next(0); got > time.Minute {
			t.Fatal(got)
		}
	}
	if got := b.Next(11 * time.Second); got != 100*time.Millisecond {
		t.Errorf("after a good run: %v", got)
	}
}

func TestChangesOfEndpoints(t *testing.T) {
	c := Config{ID: NewID(), Name: "web", Network: NetworkMode{Kind: NetworkNone}}
	for _, e := range []Endpoint{{Network: "a", Aliases: []string{"www"}}, {Network: "b", IfPrefix: "lan"}, {Network: "c"}} {
		if err := c.Connect(e); err != nil {
			t.Fatal(err)
		}
	}
	if c.Network.Kind != NetworkAttached || c.Endpoints[0].IfName != "eth0" || c.Endpoints[1].IfName != "lan0" || c.Endpoints[2].IfName != "eth1" {
		t.Errorf("%+v", c)
	}
	if names := c.Endpoints[0].Names; len(names) != 3 || names[0] != "web" || names[1] != "www" {
		t.Errorf("names %v", names)
	}
	if err := c.Connect(Endpoint{Network: "b"}); err == nil {
		t.Error("connected twice")
	}
	if err := c.Disconnect("a"); err != nil {
		t.Error(err)
	}
	if err := c.Connect(Endpoint{Network: "d"}); err != nil || c.Endpoints[2].IfName != "eth0" {
		t.Errorf("%v, %+v", err, c.Endpoints)
	}
	if err := c.Disconnect("a"); err == nil {
		t.Error("disconnected twice")
	}
	for _, kind := range []NetworkKind{NetworkHost, NetworkContainer, NetworkPath} {
		c := Config{Network: NetworkMode{Kind: kind}}
		if err := c.Connect(Endpoint{Network: "a"}); err == nil {
			t.Errorf("connected with --network %s", kind)
		}
	}
}
