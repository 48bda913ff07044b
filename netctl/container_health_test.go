package netctl

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/runner"
)

// What flags say goes over what the image says, each by itself (docker).
func TestHealthOfImageAndFlags(t *testing.T) {
	says := healthOf(imageWith(&v1.HealthConfig{Test: []string{"CMD", "ready"}, Interval: time.Nanosecond, Timeout: 2 * time.Second, Retries: 4}))
	for name, test := range map[string]struct {
		flags healthFlags
		want  string // or what the error says
	}{
		"the image's":       {healthFlags{}, "[CMD ready] 100ms 2s 4"},
		"another interval":  {healthFlags{interval: time.Minute}, "[CMD ready] 1m0s 2s 4"},
		"another program":   {healthFlags{command: "curl -f localhost", retries: 1}, "[CMD-SHELL curl -f localhost] 100ms 2s 1"},
		"a list":            {healthFlags{command: `["curl","-f"]`}, "[CMD curl -f] 100ms 2s 4"},
		"a list with CMD":   {healthFlags{command: `["CMD","curl"]`}, "[CMD curl] 100ms 2s 4"},
		"the shell's test":  {healthFlags{command: "[ -e /x ]"}, "[CMD-SHELL [ -e /x ]] 100ms 2s 4"},
		"bash's test":       {healthFlags{command: "[[ -e /x ]]"}, "[CMD-SHELL [[ -e /x ]]] 100ms 2s 4"},
		"none":              {healthFlags{none: true}, "[] 0s 0s 0"},
		"none of podman's":  {healthFlags{command: "none"}, "[] 0s 0s 0"},
		"none, and another": {healthFlags{none: true, command: "x"}, "--no-healthcheck can't be combined"},
		"too often":         {healthFlags{interval: time.Microsecond}, "interval of 1µs: want at least 100ms"},
	} {
		f := &containerFlags{health: test.flags, defaults: imageDefaults{health: says}}
		cfg := &runner.Config{}
		err := f.fillHealth(cfg)
		got := fmt.Sprint(cfg.Health.Test, " ", cfg.Health.Interval, " ", cfg.Health.Timeout, " ", cfg.Health.Retries)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
	// An image that nobody can run must say what is wrong with it.
	f := &containerFlags{defaults: imageDefaults{health: healthOf(imageWith(&v1.HealthConfig{Test: []string{"SHELL", "x"}}))}}
	cfg := &runner.Config{Image: "odd:1"}
	if err := f.fillHealth(cfg); err == nil || !strings.HasPrefix(err.Error(), `image odd:1: health check: test of kind "SHELL"`) {
		t.Errorf("got %v", err)
	}
}

func imageWith(check *v1.HealthConfig) *image.Image {
	return &image.Image{Config: v1.ConfigFile{Config: v1.Config{Healthcheck: check}}}
}
