package image

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestParseReference(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for text, want := range map[string][2]string{
		"alpine":                       {"docker.io/library/alpine:latest", "alpine:latest"},
		"alpine:3.20":                  {"docker.io/library/alpine:3.20", "alpine:3.20"},
		"docker.io/alpine":             {"docker.io/library/alpine:latest", "alpine:latest"},
		"docker.io/library/alpine":     {"docker.io/library/alpine:latest", "alpine:latest"},
		"grafana/grafana":              {"docker.io/grafana/grafana:latest", "grafana/grafana:latest"},
		"ghcr.io/a/b/c:v1":             {"ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"},
		"localhost:5000/x":             {"localhost:5000/x:latest", "localhost:5000/x:latest"},
		"127.0.0.1:5000/x@" + digest:   {"127.0.0.1:5000/x@" + digest, "127.0.0.1:5000/x@" + digest},
		"alpine@" + digest:             {"docker.io/library/alpine@" + digest, "alpine@" + digest},
		"alpine:3.20@" + digest:        {"docker.io/library/alpine@" + digest, "alpine@" + digest},
		"index.docker.io/library/ngnx": {"docker.io/library/ngnx:latest", "ngnx:latest"},
	} {
		ref, err := ParseReference(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if ref.String() != want[0] || ref.Familiar() != want[1] {
			t.Errorf("%s: got %s, %s", text, ref, ref.Familiar())
		}
		if again, err := ParseReference(ref.String()); err != nil || again.String() != want[0] {
			t.Errorf("%s: read again: %v, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "Alpine", "a b", "a:b:c", "../a", "a@sha256:12", "a:", "/etc", "a//b", "héhé"} {
		if ref, err := ParseReference(text); err == nil {
			t.Errorf("%q: got %s", text, ref)
		}
	}
}

func TestChoose(t *testing.T) {
	platform := func(text string) v1.Descriptor {
		p, err := ParsePlatform(text)
		if err != nil {
			t.Fatal(err)
		}
		return v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: &p, Size: int64(len(text))}
	}
	index := &v1.IndexManifest{Manifests: []v1.Descriptor{
		platform("unknown/unknown"), platform("linux/arm/v6"), platform("linux/arm/v7"), platform("linux/x86_64"),
	}}
	for want, has := range map[string]string{"linux/arm": "linux/arm/v6", "linux/arm/v7": "linux/arm/v7", "linux/amd64": "linux/amd64"} {
		p, _ := ParsePlatform(want)
		if d, err := Choose(index, p); err != nil || d.Platform.String() != has {
			t.Errorf("%s: got %v, %v", want, d.Platform, err)
		}
	}
	p, _ := ParsePlatform("linux/s390x")
	_, err := Choose(index, p)
	if err == nil || !strings.Contains(err.Error(), "linux/s390x (there are: linux/arm/v6, linux/arm/v7, linux/amd64)") {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"linux", "linux/", "a/b/c/d"} {
		if _, err := ParsePlatform(text); err == nil {
			t.Errorf("%s is no platform", text)
		}
	}
}
