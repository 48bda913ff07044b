package netctl

import (
	"testing"

	"github.com/netctl/netctl/netctl/runner"
)

// What an image calls a volume is a place in the container, whatever it looks like
// to those who know -v: it never names anything of the host's.
func TestVolumesOfAnImageArePlaces(t *testing.T) {
	for target, want := range map[string]string{ // the place, or "" for refused
		"/data":             "/data",
		"/data/":            "/data",
		"/data/../other":    "/other",
		"/:/host":           "/:/host",
		"/etc:/stolen:ro":   "/etc:/stolen:ro",
		"shared:/data":      "",
		"/":                 "",
		"/..":               "",
		"data":              "",
		"":                  "",
		"/proc/self/root/x": "/proc/self/root/x",
	} {
		cfg := &runner.Config{}
		f := &containerFlags{defaults: imageDefaults{volumes: []string{target}}}
		err := f.fillFromImage(cfg)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: mounts %+v", target, cfg.Mounts)
		case want != "" && (err != nil || len(cfg.Mounts) != 1):
			t.Errorf("%q: mounts %+v, %v", target, cfg.Mounts, err)
		case want != "":
			m := cfg.Mounts[0]
			if m.Kind != runner.MountVolume || m.Target != want || len(cfg.AnonymousVolumes()) != 1 {
				t.Errorf("%q: got %+v", target, m)
			}
		}
	}
}

// What the user mounts at an image's volume takes its place, however the image
// spells it.
func TestUserMountsOverAnImagesVolume(t *testing.T) {
	own := runner.Mount{Kind: runner.MountTmpfs, Target: "/data"}
	for _, target := range []string{"/data", "/data/", "//data", "/x/../data"} {
		cfg := &runner.Config{Mounts: []runner.Mount{own}}
		f := &containerFlags{defaults: imageDefaults{volumes: []string{target}}}
		if err := f.fillFromImage(cfg); err != nil || len(cfg.Mounts) != 1 {
			t.Errorf("%q: mounts %+v, %v", target, cfg.Mounts, err)
		}
	}
}
